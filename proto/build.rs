//! Compiles the `.proto` files with a compiler written in Rust: no `protoc` is needed.
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["types", "node", "replica", "admin"].map(|f| format!("revoq/v1/{f}.proto"));
    let set = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&set))?;
    tonic_prost_build::configure().bytes(".revoq.v1").codec_path("crate::codec::Codec").compile_fds(set)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
