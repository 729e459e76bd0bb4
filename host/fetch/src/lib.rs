//! Fetches the values of a pod under the pod's identity: delivery `pod`.
//!
//! The webhook planned: the document in the variable `AMPOULE_FETCH` lists the promises of the
//! plugins and where each value goes. This program loads the plugins, which the image contains in
//! compiled form, fetches the values, and writes them to memory volumes. It needs no API server and
//! no compiler. As a sidecar, it repeats the fetch until the pod ends, and ends itself to report a
//! change of variables.
//!
//! | module | task |
//! | --- | --- |
//! | `args` | the command line, and the result of the process |
//! | `plugins` | loads the plugins of the document |
//! | `fetcher` | fetches the values, and tries again while a store does not answer |
//! | `secrets` | fetches all values of the pod and writes them |
//! | `refresh` | repeats this in the sidecar |
//! | `output` | where each value goes |
//! | `changes` | when the values of variables changed |
//! | `replace` | replaces one file in one step |
//! | `directory` | replaces all files of a directory in one step |
//! | `variables` | the file of variables, as the kubelet reads it |
//! | `withheld_log` | the log lines of plugins, which are not shown |
//! | `report` | the line of audit, and the reason in the termination log |
//! | `error` | why the pod cannot start |

mod args;
mod changes;
mod directory;
mod error;
mod fetcher;
mod output;
mod plugins;
mod refresh;
mod replace;
mod report;
mod secrets;
mod variables;
mod withheld_log;

pub use self::args::FetchArgs;
