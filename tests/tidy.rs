//! Rules of this repository that a program can check: file heads and sizes, dependencies between
//! crates and modules, names, language, links, and documented commands.
//!
//! A failure names the file and the change to make. A rule that part of the repository does not
//! meet yet has a budget: a table at the head of its file, see [`budget`].

#[path = "tidy/budget.rs"]
mod budget;
#[path = "tidy/cycles.rs"]
mod cycles;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/edges.rs"]
mod edges;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/fuzz.rs"]
mod fuzz;
#[path = "tidy/language.rs"]
mod language;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/pins.rs"]
mod pins;
#[path = "tidy/repository.rs"]
mod repository;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/typos.rs"]
mod typos;
#[path = "tidy/width.rs"]
mod width;
