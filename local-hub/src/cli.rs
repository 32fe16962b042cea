//! The command line: a thin shell around the library.
//!
//! The exit codes are those of [`Exit`]: [`Exit::Refused`] if a required resource could not be
//! reached or used, [`Exit::Interrupted`] after the second request to end.

use hub_types::shown::ShownPath;
use std::path::Path;
use std::process::ExitCode;

use cli_support::exit::Exit;
use cli_support::{memory, panic, stderr, usage};

use crate::access::entra::{self, Role};
use crate::access::policy::OWNER;
use crate::dps::DpsRole;
use crate::error::Error;
use crate::listener::open_files::allow_many_connections;
use crate::local_hub::LocalHub;
use crate::storage::{data_folder, private_files};

use args::{Args, Command, ConnectionStringArgs, EntraTokenArgs, ServeArgs};

mod args;
mod output;
mod process;
mod state;

/// Runs the command that this process was started with.
pub fn run() -> ExitCode {
    panic::end_process();
    memory::keep_private();
    output::log_to_stderr();
    let args: Args = match usage::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let done = match args.command {
        Command::ConnectionString(args) => connection_string(&args),
        Command::EntraToken(args) => entra_token(&args),
        Command::Export(args) => state::export(&args).map(|()| Exit::Done),
        Command::Import(args) => state::import(&args).map(|()| Exit::Done),
        Command::Serve(args) => serve(*args),
    };
    let exit = done.unwrap_or_else(|error| {
        stderr::error_with_lines(&error);
        exit_of(&error)
    });
    exit.into()
}

fn connection_string(args: &ConnectionStringArgs) -> Result<Exit, Error> {
    let found = match args.dps {
        true => data_folder::dps_owner(&args.data)?,
        false => data_folder::connection_string(&args.data, &args.policy)?,
    };
    output::line(&found.expose_text())?;
    Ok(Exit::Done)
}

fn entra_token(args: &EntraTokenArgs) -> Result<Exit, Error> {
    let now = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0);
    let until = now.saturating_add(60 * u64::from(args.minutes));
    let role: Role = args.role.into();
    let token = if args.dps {
        let role = DpsRole::like(role).ok_or(Error::NoDpsRole)?;
        entra::token(&data_folder::dps_owner(&args.data)?.key, role, until)
    } else {
        entra::token(&data_folder::connection_string(&args.data, OWNER)?.key, role, until)
    };
    output::line(&token.map_err(|error| Error::EntraToken(error.into()))?)?;
    Ok(Exit::Done)
}

fn serve(args: ServeArgs) -> Result<Exit, Error> {
    allow_many_connections();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Thread)?;
    runtime.block_on(serve_until_told_to_end(args))
}

async fn serve_until_told_to_end(args: ServeArgs) -> Result<Exit, Error> {
    let mut config = args.into_config()?;
    // In memory, clients still need a place to find the CA and the connection string.
    let (folder, _temporary) = match &config.data {
        Some(folder) => (folder.clone(), None),
        None => {
            let temporary = private_files::temporary_folder()?;
            config.credentials = Some(temporary.path().to_owned());
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let mut termination = process::Termination::listen().map_err(Error::Signal)?;
    let hub = LocalHub::start(config).await?;
    output::line(&ready_line(&hub, &folder))?;
    termination.requested().await;
    tokio::select! {
        () = hub.shutdown() => Ok(Exit::Done),
        // Asked again: whoever asks does not want to wait for clients.
        () = termination.requested() => Ok(Exit::Interrupted),
    }
}

/// The line that tells people and scripts that the hub is ready. It contains no secret. Scripts cut
/// the folder from its end, after `--data `, so new text goes before that.
fn ready_line(hub: &LocalHub, folder: &Path) -> String {
    let mqtt = hub.mqtt_addr().map(|address| format!(" and mqtts://{address}")).unwrap_or_default();
    let amqp = hub.amqp_addr().map(|address| format!("; AMQP is refused on amqps://{address}"));
    let amqp = amqp.unwrap_or_default();
    let devices = hub.device_host().map(|host| format!("; devices call it {host}")).unwrap_or_default();
    let dps = hub.dps().map(|dps| {
        let mqtt = dps.mqtt_addr().map(|address| format!(" and mqtts://{address}")).unwrap_or_default();
        format!("; DPS on https://{}{mqtt} with the id scope {}", dps.https_addr(), dps.id_scope())
    });
    let dps = dps.unwrap_or_default();
    let management = hub.management_addr().map(|address| {
        let token = data_folder::management_token_file(folder);
        format!("; management on http://{address} with the token in {}", ShownPath(&token))
    });
    let management = management.unwrap_or_default();
    format!(
        "local-hub is ready on https://{}{mqtt}{devices}{amqp}{dps}; trust {}; for the connection string: local-hub connection-string --data {}{management}",
        hub.https_addr(),
        ShownPath(&data_folder::ca_file(folder)),
        ShownPath(folder),
    )
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::DeviceCa { .. }
        | Error::DpsWithoutName
        | Error::EmptyFolder(_)
        | Error::Faults(_)
        | Error::FolderInUse(_)
        | Error::FolderWritable { .. }
        | Error::HostName(_)
        | Error::LinkedHub { .. }
        | Error::ManagementNotLoopback(_)
        | Error::NoDpsRole
        | Error::NotLoopback(_)
        | Error::State(_)
        | Error::UnknownPolicy { .. } => Exit::BadInput,
        Error::Bind { .. }
        | Error::Damaged { .. }
        | Error::File { .. }
        | Error::Jobs(_)
        | Error::Newer { .. }
        | Error::Signal(_)
        | Error::Store { .. }
        | Error::Thread(_) => Exit::Refused,
        Error::Certificate(_) | Error::EntraToken(_) => Exit::Bug,
    }
}
