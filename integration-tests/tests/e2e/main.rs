//! End to end, through the real doors: real binaries, real ports, a local store.
//!
//! | module | what it shows |
//! |---|---|
//! | `leadership` | two control planes: `kill -9`, SIGSTOP at each step of an apply, `unlock`, a store that is away |
//! | `operations` | an apply whose caller has gone, followed again; before and after a restart |
//! | `plans` | plans in files, of some graphs, that are stale; what validation says of a directory |
//! | `resources` | deletion with consent, drift, import, rollback from the terminal |
//! | `rollout` | apply, load, change, all under steady reads; `kill -9` of the control plane; clean stop |
//! | `embedded` | the whole round without a daemon, with exit codes and every form of output |
//! | `up` | one process for everything, found by other commands; the same answers through each door |
//! | `doors` | tokens at every door; an interrupted writer leaves nothing |
//! | `client` | a gRPC client in Python calls what a graph offers |
//! | `s3` | maintenance, collection, backups, blobs, tags and checks over an S3 server |
//! | `upkeep` | several replicas maintain one graph at once, beside writers |
//! | `generic` | a gRPC client that learns the interface by reflection |
//! | `policies` | tokens, policies and their change at every door; the tools for them |
//! | `writers` | eight processes write and are killed: on a local store, and over an S3 server (moto) |

mod client;
mod doors;
mod embedded;
mod generic;
mod leadership;
mod operations;
mod plans;
mod policies;
mod resources;
mod rollout;
mod s3;
mod up;
mod upkeep;
mod writers;
