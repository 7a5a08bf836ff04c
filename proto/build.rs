//! Generates the messages, clients and servers from the `.proto` files beside this crate.

use std::path::PathBuf;

const PROTOS: &[&str] = &[
    "omnigraph/common/v1/common.proto",
    "omnigraph/common/v1/errors.proto",
    "omnigraph/control/v1/cluster.proto",
    "omnigraph/control/v1/replica.proto",
    "omnigraph/control/v1/revision.proto",
    "omnigraph/data/v1/graph.proto",
    "omnigraph/data/v1/maintenance.proto",
    "omnigraph/data/v1/readiness.proto",
];

fn main() -> std::io::Result<()> {
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from);
    let out = out.ok_or_else(|| std::io::Error::other("OUT_DIR is not set by cargo"))?;
    tonic_prost_build::configure()
        // Payload frames are passed on without a copy.
        .bytes(".omnigraph")
        // A server answers UNIMPLEMENTED to what it does not offer.
        .generate_default_stubs(true)
        .file_descriptor_set_path(out.join("omnigraph.bin"))
        .compile_protos(PROTOS, &["."])
}
