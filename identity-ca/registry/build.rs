//! Migrations are compiled in: a new one needs a new build.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
