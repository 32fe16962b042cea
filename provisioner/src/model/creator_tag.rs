//! The tag that says which run created an identity.
//!
//! It is no part of what a batch wants, whatever its name is: it is written when an identity is created, and
//! afterwards neither compared nor touched nor exported. It is known by its value, so that runs need not be told
//! the names that earlier ones gave it.

use std::borrow::Cow;

use hub_types::twin::JsonObject;
use serde_json::Value;

use crate::model::run_id::RunId;

/// The tag's value for an identity that this run creates.
pub(crate) fn value(run: RunId) -> Value {
    format!("{PROGRAM}{}{RUN}{run}", env!("CARGO_PKG_VERSION")).into()
}

/// Returns true if a tag's value names a creating run.
pub(crate) fn is_creators(value: &Value) -> bool {
    let version_and_run = value.as_str().and_then(|text| text.strip_prefix(PROGRAM)?.split_once(RUN));
    version_and_run.is_some_and(|(version, run)| {
        version.starts_with(|first: char| first.is_ascii_digit())
            && !version.contains(char::is_whitespace)
            && !run.is_empty()
            && run.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// The tags of others.
pub(crate) fn without(tags: &JsonObject) -> Cow<'_, JsonObject> {
    match tags.values().any(is_creators) {
        false => Cow::Borrowed(tags),
        true => {
            let others = tags.iter().filter(|(_, value)| !is_creators(value));
            Cow::Owned(others.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
    }
}

const PROGRAM: &str = "provisioner ";
const RUN: &str = " run ";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    #[test]
    fn the_tag_is_known_by_its_value_and_nothing_else_is_taken_for_it() {
        assert!(is_creators(&value(from_value(json!(7)).unwrap())));
        assert!(is_creators(&json!("provisioner 12.0.3-rc.1 run 1048576")));
        for other in ["provisioner 0.1.0 run", "provisioner 0.1.0 run x", "provisioner run 7", "a run 7", ""]
        {
            assert!(!is_creators(&json!(other)), "{other}");
        }
        assert!(!is_creators(&json!({"provisioner": "0.1.0 run 7"})));
        let tags = json!({"site": "m", "by": "provisioner 0.1.0 run 7"});
        assert_eq!(Value::Object(without(tags.as_object().unwrap()).into_owned()), json!({"site": "m"}));
    }
}
