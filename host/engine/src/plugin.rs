//! A plugin from its component to its answers.
//!
//! | module | task |
//! | --- | --- |
//! | [`runtime`] | what all plugins of an engine share: compiler, linker, ticker, permits |
//! | [`load`] | checks and compiles a component, and tries it out |
//! | [`inspect`] | describes a component without settings |
//! | [`prepared`] | what does not change between admissions |
//! | [`injector`] | the plugin as the core calls it |
//! | [`recall`] | whether a recorded answer is true of a pod |
//! | [`recorded`] | answers that the host gives again without a call |
//! | [`promises`] | the values of the promises of an answer |
//! | [`session`] | one plugin during one admission |
//! | [`caller`] | its answers, recorded ones and those of instances |
//! | [`permits`] | bounds the number of instances |
//! | [`instance`] | one instance, from its start to its last answer |
//! | [`timing`] | the phases of a call, for the observer |
//! | [`failure`] | why a call failed |
//! | [`values`] | the fetched values that the host keeps |
//! | [`fetch`] | the value of a promise, outside any admission |

pub(crate) mod caller;
pub(crate) mod failure;
pub(crate) mod fetch;
pub(crate) mod injector;
pub(crate) mod inspect;
pub(crate) mod instance;
pub(crate) mod load;
pub(crate) mod permits;
pub(crate) mod prepared;
pub(crate) mod promises;
pub(crate) mod recall;
pub(crate) mod recorded;
pub(crate) mod runtime;
pub(crate) mod session;
pub(crate) mod timing;
pub(crate) mod values;
