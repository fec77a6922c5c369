//! Compiles the .proto files with protox: no protoc binary is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=signet");
    println!("cargo:rerun-if-changed=spiffe");
    println!("cargo:rerun-if-changed=envoy");
    let files = [
        "spiffe/workload.proto",
        "envoy/sds.proto",
        "signet/view/v1/view.proto",
        "signet/ca/v1/ca.proto",
        "signet/agent/v1/agent.proto",
        "signet/mesh/v1/mesh.proto",
        "signet/keyd/v1/keyd.proto",
        "signet/session/v1/session.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    // For reflection, with what it imports.
    let mut workload = protox::Compiler::new(["."])?;
    workload
        .include_imports(true)
        .open_file("spiffe/workload.proto")?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("workload.binpb"), workload.encode_file_descriptor_set())?;
    Ok(())
}
