//! End to end, through the real doors: real binaries, real ports, a local store.
//!
//! | module | what it shows |
//! |---|---|
//! | `rollout` | apply, load, change, all under steady reads; `kill -9` of the control plane; clean stop |
//! | `embedded` | the whole round without a daemon, with exit codes and every form of output |
//! | `up` | one process for everything, found by other commands; the same answers through each door |
//! | `doors` | tokens at every door; an interrupted writer leaves nothing |
//! | `client` | a gRPC client in Python calls what a graph offers |
//! | `s3` | maintenance, collection, backups, blobs, tags and checks over an S3 server |
//! | `upkeep` | several replicas maintain one graph at once, beside writers |
//! | `generic` | a gRPC client that learns the interface by reflection |
//! | `writers` | eight processes write and are killed: on a local store, and over an S3 server (moto) |

mod client;
mod doors;
mod embedded;
mod generic;
mod rollout;
mod s3;
mod up;
mod upkeep;
mod writers;
