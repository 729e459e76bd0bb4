//! The flags of the commands that serve: [`ProcessArgs`].
//!
//! A flag takes precedence over the configuration file.

use std::{net::SocketAddr, path::PathBuf};

use ampoule_telemetry::log::{LogFormat, LogLevel};

/// The flags of one process.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ProcessArgs {
    /// Address of the webhook, instead of server.listen; port 0 chooses a free port.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Address of the admin port, instead of server.admin; port 0 chooses a free port.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Directory with tls.crt and tls.key, instead of server.certDir.
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// File to write once ready: JSON with the bound addresses and the CA of a self-signed
    /// certificate.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Format of log lines.
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Level of log lines; dependencies log warnings and errors only.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
}
