//! The `provisioner` command.

fn main() -> std::process::ExitCode {
    provisioner::cli::run()
}
