//! [`PodSecrets`]: the secrets of a pod, with the plugins that fetch them. It fetches all values
//! before it writes the first one.

use std::time::Duration;

use ampoule_core::{
    FetchDocument, FetchedFile, FetchedPart, FetchedTemplate, PromisedValue, SecretValue, TemplateContent,
    TemplatePart, VARIABLES_PATH,
};
use ampoule_engine::FetchedValue;

use crate::{
    changes::ChangeLog,
    error::PodFetchError,
    fetcher::{Deadline, PodFetcher},
    output::Outputs,
    plugins::{ComponentFolders, LoadedPlugins, load},
};

/// The secrets of a pod, with the plugins that fetch them.
pub(crate) struct PodSecrets<'a> {
    pub(crate) document: &'a FetchDocument,
    loaded: LoadedPlugins,
}

/// The result of a fetch of all values.
pub(crate) struct FetchRound {
    /// Whether a file changed.
    pub(crate) changed: bool,
    /// The time until the first value expires, if the store states it.
    pub(crate) expires_in: Option<Duration>,
}

// === impl PodSecrets ===

impl<'a> PodSecrets<'a> {
    /// Loads the plugins of a document.
    pub(crate) async fn load(document: &'a FetchDocument, folders: &ComponentFolders) -> Result<Self, PodFetchError> {
        Ok(Self { document, loaded: load(document, folders).await? })
    }

    /// Fetches all values, and then writes them. The log gets the changes of variables.
    pub(crate) async fn fetch(
        &self,
        deadline: &Deadline,
        log: Option<&mut ChangeLog>,
    ) -> Result<FetchRound, PodFetchError> {
        let mut fetched = Vec::with_capacity(self.loaded.plugins.len());
        for (injector, plugin) in self.document.injectors.iter().zip(&self.loaded.plugins) {
            let fetcher = PodFetcher { engine: &self.loaded.engine, plugin, deadline };
            fetched.extend(fetcher.fetch_all(&injector.values).await?);
        }
        let mut expanded = Vec::new();
        for (value, fetched) in self.document.values().zip(&fetched) {
            if let (false, Some(fetched)) = (value.folders.is_empty(), fetched) {
                expanded.extend(files_of_fields(value, &fetched.value)?);
            }
        }
        for template in &self.document.templates {
            expanded.push(self.render(template, &fetched)?);
        }
        let mut outputs = Outputs::new(VARIABLES_PATH);
        for (value, field) in &expanded {
            outputs.add(value, field)?;
        }
        for (value, fetched) in self.document.values().zip(&fetched) {
            match fetched {
                Some(fetched) => outputs.add(value, &fetched.value)?,
                None => outputs.add_absent(value),
            }
        }
        let expires_in = fetched.iter().flatten().filter_map(|fetched| fetched.expires_in).min();
        Ok(FetchRound { changed: outputs.write(log)?, expires_in })
    }
}

impl PodSecrets<'_> {
    /// The file of a template, with its content.
    fn render(
        &self,
        template: &FetchedTemplate,
        fetched: &[Option<FetchedValue>],
    ) -> Result<(PromisedValue, SecretValue), PodFetchError> {
        let refuse = |reason: String| PodFetchError::Template { path: template.file.path.clone(), reason };
        let (mut content, mut values) = (TemplateContent::default(), Vec::new());
        for part in &template.parts {
            content.parts.push(match part {
                FetchedPart::Text(text) => TemplatePart::Text(text.clone()),
                FetchedPart::Value(injector, value) => {
                    let earlier = self.document.injectors.iter().take(*injector).map(|injector| injector.values.len());
                    let position = earlier.sum::<usize>() + value;
                    let value = fetched.get(position).and_then(Option::as_ref);
                    values.push(value.ok_or_else(|| refuse("a value is missing".to_owned()))?.value.expose());
                    TemplatePart::Secret(values.len() - 1)
                }
            });
        }
        let rendered = content.render(&values).map_err(|error| refuse(error.to_string()))?;
        let file = PromisedValue {
            promise: String::new(),
            secret: format!("template {}", template.file.path),
            optional: false,
            files: vec![template.file.clone()],
            folders: Vec::new(),
            variables: Vec::new(),
        };
        Ok((file, SecretValue::new(rendered)))
    }
}

/// The files for the fields of a value, each with its content.
fn files_of_fields(
    value: &PromisedValue,
    content: &SecretValue,
) -> Result<Vec<(PromisedValue, SecretValue)>, PodFetchError> {
    let refuse = |reason: String| PodFetchError::Fields { secret: value.secret.clone(), reason };
    let mut files = Vec::new();
    for (name, field) in content.fields().map_err(|error| refuse(error.to_string()))? {
        if !SecretValue::is_file_name(&name) {
            return Err(refuse("a key of the value cannot name a file; request the keys that you need".to_owned()));
        }
        let file = |folder: &FetchedFile| FetchedFile { path: [&folder.path, "/", &name].concat(), mode: folder.mode };
        let files_of_field = value.folders.iter().map(file).collect();
        let promised =
            PromisedValue { files: files_of_field, folders: Vec::new(), variables: Vec::new(), ..value.clone() };
        files.push((promised, field));
    }
    Ok(files)
}
