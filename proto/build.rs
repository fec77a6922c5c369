//! Compiles the .proto files with protox: no protoc binary is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=signet");
    println!("cargo:rerun-if-changed=spiffe");
    println!("cargo:rerun-if-changed=envoy");
    println!("cargo:rerun-if-changed=google");
    let files = [
        "spiffe/workload.proto",
        "spiffe/broker.proto",
        "google/rpc.proto",
        "envoy/sds.proto",
        "signet/view/v1/view.proto",
        "signet/ca/v1/ca.proto",
        "signet/ca/v1/authority.proto",
        "signet/ca/v1/upstream.proto",
        "signet/ca/v1/nested.proto",
        "signet/ca/v1/watch.proto",
        "signet/ca/v1/wit.proto",
        "signet/agent/v1/agent.proto",
        "signet/mesh/v1/mesh.proto",
        "signet/keyd/v1/keyd.proto",
        "signet/session/v1/session.proto",
    ];
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    // For reflection, each with what it imports.
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for name in ["workload", "broker"] {
        let mut compiler = protox::Compiler::new(["."])?;
        compiler
            .include_imports(true)
            .open_file(format!("spiffe/{name}.proto"))?;
        let path = out.join(format!("{name}.binpb"));
        std::fs::write(path, compiler.encode_file_descriptor_set())?;
    }
    Ok(())
}
