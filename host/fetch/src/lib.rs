//! Fetches the values of a pod under the pod's identity: delivery `pod`.
//!
//! The webhook planned: the document in the variable `AMPOULE_FETCH` lists the promises of the
//! plugins and where each value goes. This program loads the plugins, which the image contains in
//! compiled form, fetches the values, and writes them to memory volumes. It needs no API server and
//! no compiler.
//!
//! | module | task |
//! | --- | --- |
//! | `args` | the command line, and the result of the process |
//! | `plugins` | loads the plugins of the document |
//! | `fetcher` | fetches the values, and tries again while a store does not answer |
//! | `output` | writes files and the file of variables |
//! | `report` | the line of audit, and the reason in the termination log |
//! | `error` | why the pod cannot start |

mod args;
mod error;
mod fetcher;
mod output;
mod plugins;
mod report;

pub use self::args::FetchArgs;
