//! Says what is in the files that are named, as JSON, one line for each thing in them.
//!
//! `cargo run -p cert-tool --example read_anything -- cert.pem`

use std::path::Path;

use cert_tool::{Description, Error, read_documents};

#[expect(clippy::print_stdout, reason = "it is an example")]
fn main() -> Result<(), Error> {
    for file in std::env::args().skip(1) {
        // Nobody is there to type the password of a PFX file.
        for document in read_documents(Path::new(&file), &mut |_| Ok(None))? {
            let description = Description::of(&document?);
            println!("{}", serde_json::to_string(&description).unwrap_or_default());
        }
    }
    Ok(())
}
