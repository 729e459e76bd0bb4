//! Reserved names: an edit with such a name can take over a container or the node.
//!
//! A permission must contain the exact name; `*` does not cover it.

/// Variables that make programs load code, read another configuration, or connect to another
/// server. With `*` at the end, all variables with this prefix.
const VARIABLES: [&str; 57] = [
    // The dynamic linker and libc.
    "LD_*",
    "DYLD_*",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "LOCPATH",
    "NLSPATH",
    // Shells.
    "BASHOPTS",
    "BASH_ENV",
    "BASH_FUNC_*",
    "ENV",
    "IFS",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "SHELLOPTS",
    "ZDOTDIR",
    // Language runtimes.
    "CLASSPATH",
    "COR_*",
    "CORECLR_*",
    "DOTNET_STARTUP_HOOKS",
    "GEM_PATH",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LUA_CPATH*",
    "LUA_INIT*",
    "LUA_PATH*",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "_JAVA_OPTIONS",
    // Programs that are run by others.
    "EDITOR",
    "GIT_*",
    "KUBECONFIG",
    "PAGER",
    // Servers and the trust in them.
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KUBERNETES_SERVICE_*",
    "OPENSSL_*",
    "REQUESTS_CA_BUNDLE",
    "RES_OPTIONS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// Directories with the credentials of the pod's service account. `/var/run` is a link to `/run` in
/// most images.
const CREDENTIALS: [&str; 6] = [
    "/run/secrets/azure",
    "/run/secrets/eks.amazonaws.com",
    "/run/secrets/kubernetes.io",
    "/var/run/secrets/azure",
    "/var/run/secrets/eks.amazonaws.com",
    "/var/run/secrets/kubernetes.io",
];

/// Directories of the kernel.
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// The volume that shows the node's files.
const HOST_PATH: &str = "hostPath";

/// The start of the name of the volume with the token of the pod's service account. The API server
/// adds it.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// Whether the variable is reserved. Programs read the names of proxies in either case.
pub(crate) fn is_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    VARIABLES.iter().any(|reserved| match reserved.strip_suffix('*') {
        Some(prefix) => upper.starts_with(prefix),
        None => upper == *reserved,
    })
}

/// Whether a mount at this path hides credentials or files of the kernel.
pub(super) fn is_mount(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let normal = ["/", &parts.join("/")].concat();
    CREDENTIALS.iter().chain(&KERNEL).any(|directory| is_below(directory, &normal))
        || CREDENTIALS.iter().any(|directory| is_below(&normal, directory))
}

/// Whether the volume is reserved.
pub(super) fn is_volume(kind: &str) -> bool {
    kind == HOST_PATH
}

/// Whether the pod's volume of this name is reserved.
pub(super) fn is_pod_volume(name: &str) -> bool {
    name.starts_with(TOKEN_VOLUME)
}

/// Whether a path is the directory or below it.
fn is_below(directory: &str, path: &str) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || directory == "/",
        None => false,
    }
}
