//! [`parse_requester`]: the user of a review, for policies.
//!
//! It is read separately, so that a webhook without a policy skips the field.

use std::collections::BTreeMap;

use ampoule_core::{RequestUser, Requester};
use serde::Deserialize;

use super::OnlyObject;

/// The part of a review with the user. Other fields are skipped without a copy.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReviewUser {
    request: Option<OnlyObject<RequestWithUser>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestWithUser {
    user_info: Option<OnlyObject<UserInfo>>,
}

/// `authentication.k8s.io/v1` UserInfo.
#[derive(Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: Option<String>,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

/// Reads `request.userInfo` of a review. A review without it has an empty user.
///
/// [`memory_bound`](super::memory_bound) bounds the memory of the result, as it does for
/// [`parse`](super::parse).
#[must_use]
pub fn parse_requester(body: &[u8]) -> Requester {
    let Ok(OnlyObject(review)) = serde_json::from_slice::<OnlyObject<ReviewUser>>(body) else {
        return Requester::Unreadable;
    };
    let user = review.request.and_then(|OnlyObject(request)| request.user_info);
    Requester::User(user.map(|OnlyObject(user)| RequestUser::from(user)).unwrap_or_default())
}

// === impl UserInfo ===

impl From<UserInfo> for RequestUser {
    fn from(user: UserInfo) -> Self {
        Self {
            username: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default().into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn requester(user_info: &Value) -> Requester {
        parse_requester(json!({ "request": { "uid": "u", "userInfo": user_info } }).to_string().as_bytes())
    }

    #[test]
    fn the_user_is_read_with_its_groups_and_attributes() {
        let info = json!({
            "username": "ann", "uid": "7", "groups": ["a", "b"], "extra": { "scopes": ["x"] }, "unknown": [1],
        });
        let expected = RequestUser {
            username: "ann".to_owned(),
            uid: "7".to_owned(),
            groups: vec!["a".to_owned(), "b".to_owned()],
            extra: vec![("scopes".to_owned(), vec!["x".to_owned()])],
        };
        assert_eq!(requester(&info), Requester::User(expected));
    }

    #[test]
    fn missing_fields_are_empty_and_wrong_types_are_unreadable() {
        for empty in [json!(null), json!({}), json!({ "groups": null, "username": null })] {
            assert_eq!(requester(&empty), Requester::default(), "{empty}");
        }
        assert_eq!(parse_requester(b"{}"), Requester::default());
        let wrong =
            [json!(1), json!(["ann"]), json!({ "username": 1 }), json!({ "groups": "a" }), json!({ "extra": [] })];
        for wrong in wrong {
            assert_eq!(requester(&wrong), Requester::Unreadable, "{wrong}");
        }
        for body in ["", "[]", "{\"request\":{\"userInfo\":{\"username\":\"\\ud800\"}}}"] {
            assert_eq!(parse_requester(body.as_bytes()), Requester::Unreadable, "{body}");
        }
    }
}
