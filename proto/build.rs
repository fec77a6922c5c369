//! Compiles the .proto files with protox: no protoc binary is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=signet");
    println!("cargo:rerun-if-changed=spiffe");
    let files = [
        "spiffe/workload.proto",
        "signet/view/v1/view.proto",
        "signet/ca/v1/ca.proto",
        "signet/agent/v1/agent.proto",
        "signet/mesh/v1/mesh.proto",
        "signet/keyd/v1/keyd.proto",
        "signet/session/v1/session.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
