//! [`ProcessArgs`]: the flags of the commands that serve.
//!
//! A flag wins over the configuration file.

use std::{net::SocketAddr, path::PathBuf};

use ampoule_telemetry::log::{LogFormat, LogLevel};

/// What is about the one process, and not about its configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ProcessArgs {
    /// The webhook's address, instead of server.listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// The admin port's address, instead of server.admin; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// The folder with tls.crt and tls.key, instead of server.certDir.
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// A file to write once ready: JSON with the addresses bound and the CA that was made.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// How much is logged; of dependencies never more than warnings.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
}
