//! Every command and flag: the one source of parsing, help, completions, the man page and the
//! configuration file.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

use crate::cluster_args::{ClusterArgs, OperatorArgs};
use crate::load::TokenArgs;
use crate::wire::TrustArgs;

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Green.on_default());

/// One key, one room: rooms by name, each a single live process.
///
/// Without a command it serves: rooms over WebSocket, key-value over TCP, an HTTP API.
#[derive(Debug, Parser)]
#[command(name = "innkeeper", version, styles = STYLES, max_term_width = 100)]
#[command(
    after_help = "Try `innkeeper serve`, open the page it prints in two windows, and talk.\n\
                        Then `innkeeper race --chaos` to see the promise kept."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve rooms and buckets (the default).
    Serve(Box<ServeArgs>),
    /// Have many callers ask for one key at once, and count what answers.
    Race(RaceArgs),
    /// Look at the rooms of a server, or stop one.
    Rooms(RoomsArgs),
    /// Look at the nodes of a cluster, and at who owns which shard.
    Cluster(ClusterCommandArgs),
    /// Put a server under load: members in rooms over WebSocket, and every delivery verified.
    Load(LoadArgs),
    /// Look for a key that is alive twice, over all servers given; exit code 1 if there is one.
    Check(CheckArgs),
    /// Print what happens to rooms and buckets, as it happens.
    Events(EventsArgs),
    /// Watch a server in this terminal.
    Top(TopArgs),
    /// Show or write the settings of `serve`.
    Config {
        /// What to do with them.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page.
    Man {
        /// Write it into this directory instead, and one for each command.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// The flags of `serve`. Each is a key of the configuration file too, and has a variable
/// `INNKEEPER_` in the environment; flags go before the environment, that before the file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Listen")]
pub struct ServeArgs {
    /// Where to serve HTTP and WebSocket.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000", env = "INNKEEPER_HTTP")]
    pub http: String,

    /// Where to serve the key-value protocol, or `off`.
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:4040", env = "INNKEEPER_KV")]
    pub kv: String,

    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_CONFIG")]
    pub config: Option<PathBuf>,

    /// What this node is called.
    #[arg(long, value_name = "NAME", default_value = "local", env = "INNKEEPER_NODE")]
    pub node: String,

    /// Rooms that may exist at once; buckets likewise.
    #[arg(long, value_name = "N", default_value = "1000000", env = "INNKEEPER_MAX_ROOMS")]
    #[arg(help_heading = "Limits")]
    pub max_rooms: usize,

    /// Members that one room may have.
    #[arg(long, value_name = "N", default_value = "10000", env = "INNKEEPER_MAX_MEMBERS")]
    #[arg(help_heading = "Limits")]
    pub max_members: usize,

    /// How long a room without members is kept.
    #[arg(long, value_name = "DUR", default_value = "5m", env = "INNKEEPER_IDLE_AFTER")]
    #[arg(help_heading = "Limits", value_parser = parse_duration)]
    pub idle_after: Duration,

    /// Rooms and buckets that may be started each second, in all; 0 for any number.
    #[arg(long, value_name = "N", default_value = "10000", env = "INNKEEPER_STARTS_PER_SECOND")]
    #[arg(help_heading = "Limits")]
    pub starts_per_second: u32,

    /// Rooms and buckets that one client address may start each second; 0 for any number.
    #[arg(long, value_name = "N", default_value = "1000", env = "INNKEEPER_STARTS_PER_CLIENT")]
    #[arg(help_heading = "Limits")]
    pub starts_per_client: u32,

    /// Connections that one client address may have at once, of each protocol; 0 for any number.
    #[arg(long, value_name = "N", default_value = "20000")]
    #[arg(env = "INNKEEPER_CONNECTIONS_PER_CLIENT", help_heading = "Limits")]
    pub connections_per_client: usize,

    /// The longest text of a message, in bytes.
    #[arg(long, value_name = "N", default_value = "4096", env = "INNKEEPER_MAX_MESSAGE_BYTES")]
    #[arg(help_heading = "Limits")]
    pub max_message_bytes: usize,

    /// How long ending in order may take, after Ctrl-C or SIGTERM.
    #[arg(long, value_name = "DUR", default_value = "30s", env = "INNKEEPER_DRAIN_TIMEOUT")]
    #[arg(help_heading = "Limits", value_parser = parse_duration)]
    pub drain_timeout: Duration,

    /// What an admin has to show: to stop and to list rooms, and for the event stream.
    ///
    /// Without it these are open on loopback, and closed to everybody on any other address.
    #[arg(long, value_name = "TOKEN", env = "INNKEEPER_ADMIN_TOKEN", hide_env_values = true)]
    #[arg(help_heading = "Who may")]
    pub admin_token: Option<String>,

    /// Let the dashboard show the buttons that stop and restart rooms.
    #[arg(long, value_name = "true|false", default_value = "false", hide_possible_values = true)]
    #[arg(env = "INNKEEPER_ALLOW_ACTIONS", action = ArgAction::Set, require_equals = true)]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Who may")]
    pub allow_actions: bool,

    /// An origin, besides the server's own, whose pages may talk to it; say it once for each.
    #[arg(long, value_name = "O", env = "INNKEEPER_ALLOW_ORIGIN", value_delimiter = ',')]
    #[arg(help_heading = "Who may")]
    pub allow_origin: Vec<String>,

    /// Have names signed: users show a JWT whose `sub` is their name, and `rooms` where they may
    /// go. The file has a public key in PEM, or a shared secret of 32 bytes at least.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_AUTH_KEY")]
    #[arg(help_heading = "Who may")]
    pub auth_key: Option<PathBuf>,

    /// Serve HTTP over TLS with this certificate, and what is between it and its root, in PEM.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_HTTP_TLS_CERT", requires = "http_tls_key")]
    pub http_tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", env = "INNKEEPER_HTTP_TLS_KEY", requires = "http_tls_cert")]
    pub http_tls_key: Option<PathBuf>,

    /// How to write the log: as text, or as JSON. Default: text on a terminal, else JSON.
    #[arg(long, value_name = "text|json", env = "INNKEEPER_LOG_FORMAT")]
    #[arg(help_heading = "Log")]
    pub log_format: Option<LogFormat>,

    /// What makes this server a node of a cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How to write the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: an object a line.
    Json,
}

/// The flags of `race`.
#[derive(Args, Clone, Debug)]
pub struct RaceArgs {
    /// A server to ask, instead of racing in this process; several are asked in turn.
    #[arg(long, value_name = "URL")]
    pub url: Vec<String>,

    /// The key that all ask for.
    #[arg(long, value_name = "K", default_value = "lobby")]
    pub key: String,

    /// How many ask at once.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = positive)]
    pub callers: usize,

    /// How often.
    #[arg(long, value_name = "N", default_value = "10", value_parser = positive)]
    pub rounds: usize,

    /// Meanwhile crash, stop, idle-stop and cancel, with slow starts and ends, and count the live
    /// processes from their construction to their drop. In this process only.
    #[arg(long, conflicts_with = "url")]
    pub chaos: bool,

    /// Whom to believe that it is the server.
    #[command(flatten)]
    pub trust: TrustArgs,

    /// How to print the result.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// How to print a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// Words separated by tabs, without a head.
    Plain,
}

/// `rooms`, and the server it is about.
#[derive(Args, Clone, Debug)]
pub struct RoomsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RoomsCommand,

    /// Which server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `cluster`, and the server that is asked about it.
#[derive(Args, Clone, Debug)]
pub struct ClusterCommandArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ClusterCommand,

    /// Which server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What to look at in a cluster, or to do to it.
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterCommand {
    /// List the nodes that have a session. For how long one can prove it, that node alone knows.
    Nodes,
    /// List the shards of the key space, and which node owns each.
    Shards,
    /// Have the node at --url drain and end: its rooms move to the others.
    Drain {
        /// Its name.
        node: String,
    },
    /// End the session of a node that is dead for sure, so that others have its rooms at once.
    Evict {
        /// Its name.
        node: String,
        /// It has been made sure that the node's program has ended, or its machine.
        #[arg(long)]
        confirm_terminated: bool,
        /// Which cluster.
        #[command(flatten)]
        at: OperatorArgs,
    },
    /// Change what all nodes of a cluster agree on, while none of them runs.
    Reconfigure {
        /// How many shards there are to be.
        #[arg(long, value_name = "N")]
        shards: Option<u16>,
        /// How long a session is to last.
        #[arg(long, value_name = "DUR", value_parser = parse_duration)]
        session_length: Option<Duration>,
        /// How long etcd may take to find a new leader.
        #[arg(long, value_name = "DUR", value_parser = parse_duration)]
        etcd_failover: Option<Duration>,
        /// Which cluster.
        #[command(flatten)]
        at: OperatorArgs,
    },
    /// Begin a new generation after etcd was restored from a snapshot: stop all nodes, restore, do
    /// this, start them.
    NewGeneration {
        /// Which cluster.
        #[command(flatten)]
        at: OperatorArgs,
    },
    /// Show which versions of the protocol the nodes speak, while they are restarted one by one
    /// with another release.
    Upgrade {
        /// End it: from now on every node speaks the newest version that this program speaks, and
        /// one that does not is refused.
        #[arg(long)]
        finalize: bool,
        /// Which cluster.
        #[command(flatten)]
        at: OperatorArgs,
    },
}

/// Which server a command is about.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// The server to ask.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4000")]
    #[arg(env = "INNKEEPER_URL", global = true)]
    pub url: String,

    /// The admin token of that server.
    #[arg(long, value_name = "TOKEN", env = "INNKEEPER_TOKEN", hide_env_values = true)]
    #[arg(global = true)]
    pub token: Option<String>,

    /// Whom to believe that it is the server.
    #[command(flatten)]
    pub trust: TrustArgs,

    /// How to print the result.
    #[arg(long, value_name = "FORMAT", default_value = "table", global = true)]
    pub format: Format,
}

/// The flags of `load`.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// The server; several are taken in turn.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4000")]
    pub url: Vec<String>,

    /// How many rooms.
    #[arg(long, value_name = "N", default_value = "100", value_parser = positive)]
    pub rooms: usize,

    /// How many members in each of them.
    #[arg(long, value_name = "N", default_value = "5", value_parser = positive)]
    pub members: usize,

    /// How many messages a second, by all of them together.
    #[arg(long, value_name = "R", default_value = "1000", value_parser = positive)]
    pub rate: usize,

    /// For how long.
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,

    /// What the keys of the rooms begin with.
    #[arg(long, value_name = "TEXT", default_value = "load-")]
    pub prefix: String,

    /// What its members prove their names with.
    #[command(flatten)]
    pub tokens: TokenArgs,

    /// Whom to believe that it is the server.
    #[command(flatten)]
    pub trust: TrustArgs,

    /// How to print the result.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// The flags of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// A server to ask; say it once for each.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4000")]
    pub url: Vec<String>,

    /// The admin token of the servers.
    #[arg(long, value_name = "TOKEN", env = "INNKEEPER_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// Whom to believe that it is the server.
    #[command(flatten)]
    pub trust: TrustArgs,

    /// How to print the result.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// The flags of `events`.
#[derive(Args, Clone, Debug)]
pub struct EventsArgs {
    /// Go on until Ctrl-C; without it, only what happens within the next second is printed.
    #[arg(long)]
    pub follow: bool,

    /// Which server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// The flags of `top`.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// Print one picture of it and end; so does any format but the table, and any output that is no
    /// terminal.
    #[arg(long)]
    pub once: bool,

    /// Which server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What to do with rooms.
#[derive(Clone, Debug, Subcommand)]
pub enum RoomsCommand {
    /// List the rooms there are, in the order of their keys.
    List {
        /// Only keys that begin like this.
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,

        /// At most so many.
        #[arg(long, value_name = "N", default_value = "100", value_parser = positive)]
        limit: usize,
    },
    /// Show one room; exit code 1 if there is none.
    Show {
        /// Its key.
        key: String,
    },
    /// Stop a room, and wait until its key is free; exit code 1 if there is none.
    Stop {
        /// Its key.
        key: String,
    },
}

/// What to do with the settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print each setting of `serve`, and where it came from.
    Show(Box<ShowArgs>),
    /// Write a configuration file with every setting in it, commented out.
    Init(InitArgs),
}

/// The flags of `config show`: those of `serve`, too.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// What would be served with.
    #[command(flatten)]
    pub serve: ServeArgs,

    /// How to print it.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// The flags of `config init`.
#[derive(Args, Clone, Debug)]
pub struct InitArgs {
    /// The file to write.
    #[arg(default_value = "innkeeper.toml")]
    pub output: PathBuf,

    /// Overwrite it.
    #[arg(long)]
    pub force: bool,
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration like 500ms, 30s or 5m";
    let duration: SignedDuration = text.parse().map_err(|_| expected.to_owned())?;
    Duration::try_from(duration).map_err(|_| format!("{expected}, got a negative one"))
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number from 1 on".to_owned()),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(parse_duration("-1s").unwrap_err().contains("negative"));
        assert!(parse_duration("soon").unwrap_err().contains("like 500ms"));
        assert!(parse_duration("5").is_err());
    }
}
