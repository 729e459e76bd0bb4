//! The arguments of `ampoule console`.
//!
//! The defaults are those of the chart and of `server.console: {}`.

/// `ampoule console`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConsoleArgs {
    /// Namespace of the webhook.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "ampoule")]
    pub(crate) namespace: String,
    /// Replica, or the workload of which `kubectl` chooses one.
    #[arg(long, value_name = "KIND/NAME", default_value = "deployment/ampoule")]
    pub(crate) target: String,
    /// Port of the console in the pod (`server.console.listen`).
    #[arg(long, value_name = "PORT", default_value_t = 9445)]
    pub(crate) port: u16,
    /// Port on this machine [default: the same].
    #[arg(long, value_name = "PORT")]
    pub(crate) local_port: Option<u16>,
    /// Print the commands instead of running them.
    #[arg(long)]
    pub(crate) print: bool,
}
