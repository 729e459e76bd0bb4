//! [`Query`]: the parameters of a request, each at most once.
//!
//! An unknown parameter is an error, so that a token in a URL never looks as if it had an effect.

use ampoule_core::is_dns_label;

use crate::refusal::ApiRefusal;

/// Bytes of a query.
const MAX_QUERY: usize = 1 << 10;

/// The parameters of a request.
pub(crate) struct Query(Vec<(String, String)>);

// === impl Query ===

impl Query {
    /// Parses a query that may have only these parameters.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, ApiRefusal> {
        let query = query.unwrap_or_default();
        if query.len() > MAX_QUERY {
            return Err(ApiRefusal::invalid(format!("the query has more than {MAX_QUERY} bytes")));
        }
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for (position, (name, _)) in pairs.iter().enumerate() {
            // The name is not repeated: it may be a token.
            if !known.contains(&name.as_str()) {
                return Err(ApiRefusal::invalid(format!(
                    "unknown parameter; the parameters are: {}",
                    known.join(", ")
                )));
            }
            if pairs[..position].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiRefusal::invalid(format!("parameter {name}: must be given once")));
            }
        }
        Ok(Self(pairs))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The namespace, if the query has one.
    pub(crate) fn namespace(&self) -> Result<Option<String>, ApiRefusal> {
        match self.text("namespace") {
            None => Ok(None),
            Some(name) if is_dns_label(name) => Ok(Some(name.to_owned())),
            Some(_) => Err(ApiRefusal::invalid("parameter namespace: is not the name of a namespace".to_owned())),
        }
    }

    /// A number, or the default if the query does not have it.
    pub(crate) fn number(&self, name: &str, default: u64) -> Result<u64, ApiRefusal> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().map_err(|_| ApiRefusal::invalid(format!("parameter {name}: is not a whole number")))
    }

    /// A switch that is off without the parameter.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiRefusal> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiRefusal::invalid(format!("parameter {name}: must be true or false"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str) -> Result<(Option<String>, u64, bool), String> {
        let read = || {
            let query = Query::parse(Some(query), &["namespace", "after", "apiServer"])?;
            Ok((query.namespace()?, query.number("after", 7)?, query.flag("apiServer")?))
        };
        read().map_err(|error: ApiRefusal| error.detail())
    }

    #[test]
    fn a_query_has_known_parameters_with_valid_values() {
        assert_eq!(check(""), Ok((None, 7, false)));
        assert_eq!(check("namespace=team-a&after=12&apiServer=true"), Ok((Some("team-a".to_owned()), 12, true)));
        let long = "x".repeat(MAX_QUERY + 1);
        for (query, expected) in [
            ("access_token=secret", "unknown parameter; the parameters are: namespace, after, apiServer"),
            ("namespace=a&namespace=b", "parameter namespace: must be given once"),
            ("namespace=../b", "parameter namespace: is not the name of a namespace"),
            ("namespace=", "parameter namespace: is not the name of a namespace"),
            ("namespace=%00", "parameter namespace: is not the name of a namespace"),
            ("after=-1", "parameter after: is not a whole number"),
            ("apiServer=1", "parameter apiServer: must be true or false"),
            (&long, "the query has more than 1024 bytes"),
        ] {
            assert_eq!(check(query), Err(expected.to_owned()), "{query}");
        }
    }
}
