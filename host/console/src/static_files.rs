//! The files of the console in the browser, which are part of the program.
//!
//! They are hand-written modules without a framework and without a build step. They load nothing
//! from other hosts, and show nothing without the API.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file with its path and its type.
pub(crate) struct StaticFile {
    pub(crate) path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

macro_rules! file {
    ($path:literal, $content_type:expr, $name:literal) => {
        StaticFile { path: $path, content_type: $content_type, content: include_str!(concat!("static/", $name)) }
    };
}

/// All files.
pub(crate) const FILES: [StaticFile; 8] = [
    file!("/", HTML, "index.html"),
    file!("/static/console.css", CSS, "console.css"),
    file!("/static/console.js", SCRIPT, "console.js"),
    file!("/static/client.js", SCRIPT, "client.js"),
    file!("/static/dom.js", SCRIPT, "dom.js"),
    file!("/static/pages.js", SCRIPT, "pages.js"),
    file!("/static/story.js", SCRIPT, "story.js"),
    file!("/static/icon.svg", SVG, "icon.svg"),
];

// === impl StaticFile ===

impl IntoResponse for &'static StaticFile {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type))], self.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions and properties that turn a text into elements or code.
    const MARKUP: [&str; 10] = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "eval(",
        "new Function",
        "srcdoc",
        "setHTML",
        "createContextualFragment",
    ];

    #[test]
    fn no_text_becomes_markup_and_nothing_is_stored() {
        for file in &FILES {
            for word in MARKUP.iter().chain(&["localStorage", "sessionStorage", "document.cookie", "indexedDB"]) {
                assert!(!file.content.contains(word), "{} has {word}", file.path);
            }
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_from_another_host() {
        let page = FILES[0].content;
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "{page}");
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=\"/static/").count());
        for file in &FILES {
            let urls =
                file.content.split("http").skip(1).filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
            let foreign: Vec<_> = urls.filter(|rest| !rest.starts_with("://www.w3.org/2000/svg")).collect();
            assert!(foreign.is_empty(), "{}: {foreign:?}", file.path);
        }
    }

    #[test]
    fn every_file_that_is_imported_exists() {
        let paths: Vec<_> = FILES.iter().map(|file| file.path).collect();
        for file in &FILES {
            for import in file.content.split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
                let path = format!("/static/{import}");
                assert!(paths.contains(&path.as_str()), "{} imports {path}", file.path);
            }
        }
        let bytes: usize = FILES.iter().map(|file| file.content.len()).sum();
        assert!(bytes < 100 << 10, "{bytes} bytes");
    }
}
