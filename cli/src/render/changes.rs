//! Changed entities, differences, feeds and tags.

use std::fmt::Write as _;

use serde_json::Value;

use super::commit::list;
use super::words::{ago, utc};
use crate::client::data::understand;
use crate::client::shapes::{
    ChangeBlock, ChangeCause, ChangeFeedOutput, CommitChangesOutput, DiffOutput, EntityChange,
    Image, TagOutput, TypeCount,
};
use crate::error::{Error, Result};
use crate::output::{Items, Rendered};

/// The changes of one commit under the line of its cause.
pub(crate) fn commit(
    output: &CommitChangesOutput,
    changes: &[&str],
    json: &str,
) -> Result<Rendered> {
    let mut text = cause(&output.cause);
    text.push_str(&lines(changes)?);
    if let Some(token) = &output.next_page_token {
        let _ = writeln!(text, "more: --page-token {token}");
    }
    Ok(events(text, json, changes))
}

/// `main 01JDB4 → import 01JDB5   Package +2 ~1 -0`, then the changes.
pub(crate) fn diff(
    from: &str,
    to: &str,
    output: &DiffOutput,
    changes: &[&str],
    json: &str,
) -> Result<Rendered> {
    let side = |asked: &str, id: &str| match asked == id {
        true => id.to_owned(),
        false => format!("{asked} {id}"),
    };
    let mut text = format!(
        "{} → {}",
        side(from, &output.from.graph_commit_id),
        side(to, &output.to.graph_commit_id)
    );
    if let Some(base) = &output.merge_base {
        let _ = write!(text, " (base {base})");
    }
    for count in &output.summary {
        let _ = write!(text, "   {}", counts(count));
    }
    text.push('\n');
    text.push_str(&lines(changes)?);
    if let Some(token) = &output.next_page_token {
        let _ = writeln!(text, "more: --page-token {token}");
    }
    Ok(events(text, json, changes))
}

/// Blocks, then `cursor …  caught up`.
pub(crate) fn feed(page: &ChangeFeedOutput, json: &str) -> Result<Rendered> {
    let mut text = String::new();
    for block_json in &page.blocks {
        text.push_str(&block(block_json.get())?);
    }
    match (&page.cursor, &page.next_page_token) {
        (Some(cursor), _) => {
            let state = match page.caught_up {
                Some(true) => "  caught up",
                _ => "  more to come",
            };
            let _ = writeln!(text, "cursor {cursor}{state}");
        }
        (None, Some(token)) => {
            let _ = writeln!(text, "more: --page-token {token}");
        }
        (None, None) => {}
    }
    let blocks: Vec<&str> = page.blocks.iter().map(|block| block.get()).collect();
    Ok(events(text, json, &blocks))
}

/// One block of a feed.
pub(crate) fn block(json: &str) -> Result<String> {
    let block: ChangeBlock = understand(json)?;
    let changes: Vec<&str> = block.changes.iter().map(|change| change.get()).collect();
    Ok(cause(&block.cause) + &lines(&changes)?)
}

/// The first page of a list with the changes of all pages in it.
pub(crate) fn joined(first: &str, changes: &[&str]) -> Result<String> {
    let mut object: serde_json::Map<String, Value> = understand(first)?;
    object.remove("next_page_token");
    object.remove("changes");
    let head = Value::Object(object).to_string();
    let head = head
        .strip_suffix('}')
        .ok_or_else(|| Error::failed("the server's answer is no object"))?;
    Ok(format!(r#"{head},"changes":[{}]}}"#, changes.join(",")))
}

pub(crate) fn tags(raw: &[&str], json: &str, now_us: i64) -> Result<Rendered> {
    list(
        &["tag", "commit", "when", "actor", "message"],
        raw,
        json,
        |text| {
            let tag: TagOutput = understand(text)?;
            Ok(vec![
                tag.name,
                tag.graph_commit_id,
                ago(tag.created_at, now_us),
                tag.actor_id.unwrap_or_else(|| "-".to_owned()),
                tag.message.unwrap_or_default(),
            ])
        },
    )
}

pub(crate) fn tag(tag: &TagOutput, json: &str) -> Rendered {
    let commit = tag.commit.as_ref();
    let fields = [
        ("tag", tag.name.clone()),
        ("commit", tag.graph_commit_id.clone()),
        (
            "branch",
            commit
                .and_then(|c| c.graph_branch.clone())
                .unwrap_or_default(),
        ),
        (
            "committed",
            commit.map(|c| utc(c.created_at)).unwrap_or_default(),
        ),
        ("tagged", utc(tag.created_at)),
        ("actor", tag.actor_id.clone().unwrap_or_default()),
        ("message", tag.message.clone().unwrap_or_default()),
    ];
    Rendered::fields(&fields, json)
}

fn events(text: String, json: &str, items: &[&str]) -> Rendered {
    Rendered {
        text,
        json: json.to_owned(),
        items: Some(Items {
            json: items.iter().map(|item| (*item).to_owned()).collect(),
            ..Items::default()
        }),
        ..Rendered::default()
    }
}

fn cause(cause: &ChangeCause) -> String {
    let actor = cause.actor_id.as_deref().unwrap_or("-");
    format!(
        "{}  {}  {actor}  {}\n",
        cause.graph_commit_id,
        cause.authored_branch,
        utc(cause.authored_at)
    )
}

fn counts(count: &TypeCount) -> String {
    format!(
        "{} +{} ~{} -{}",
        count.type_name, count.inserted, count.updated, count.deleted
    )
}

fn lines(changes: &[&str]) -> Result<String> {
    let mut text = String::new();
    for change in changes {
        text.push_str(&entity(&understand(change)?)?);
    }
    Ok(text)
}

/// `~ Package bash`, then a line for each value that differs.
fn entity(change: &EntityChange) -> Result<String> {
    let sign = match change.op.as_str() {
        "insert" => '+',
        "update" => '~',
        _ => '-',
    };
    let mut text = format!("{sign} {} {}", change.entity_type.name, change.id);
    let ends = |image: Option<&Image>| {
        let ends = image.and_then(|image| image.endpoints.as_ref());
        ends.map(|ends| format!("{} -> {}", ends.from, ends.to))
    };
    let (was, is) = (ends(change.before.as_ref()), ends(change.after.as_ref()));
    match (&was, &is) {
        (Some(was), Some(is)) if was != is => {
            let _ = write!(text, "  {was} => {is}");
        }
        (_, Some(ends)) | (Some(ends), None) => {
            let _ = write!(text, "  {ends}");
        }
        (None, None) => {}
    }
    text.push('\n');
    let (before, after) = (
        values(change.before.as_ref())?,
        values(change.after.as_ref())?,
    );
    match sign {
        '+' => {
            for (name, value) in after.iter().filter(|(_, value)| !value.is_null()) {
                let _ = writeln!(text, "    {name}: {}", bare(Some(value)));
            }
        }
        '~' => {
            let names = before
                .keys()
                .chain(after.keys().filter(|n| !before.contains_key(*n)));
            for name in names {
                let (old, new) = (before.get(name), after.get(name));
                if old != new {
                    let _ = writeln!(text, "    {name}: {} -> {}", bare(old), bare(new));
                }
            }
        }
        _ => {}
    }
    Ok(text)
}

fn values(image: Option<&Image>) -> Result<serde_json::Map<String, Value>> {
    match image {
        Some(image) => understand(image.properties.get()),
        None => Ok(serde_json::Map::new()),
    }
}

fn bare(value: Option<&Value>) -> String {
    match value {
        None => "<absent>".to_owned(),
        Some(Value::Null) => "<null>".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
fn raw_changes(changes: &[Box<serde_json::value::RawValue>]) -> Vec<&str> {
    changes.iter().map(|change| change.get()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::render::golden::check;

    const CHANGES: [&str; 4] = [
        r#"{"kind":"node","type":{"id":"1","name":"Package"},"id":"zsh","op":"insert","after":{"properties":{"name":"zsh","summary":null,"version":"5.9-4"}}}"#,
        r#"{"kind":"node","type":{"id":"1","name":"Package"},"id":"bash","op":"update","before":{"properties":{"name":"bash","priority":"optional","size":1}},"after":{"properties":{"name":"bash","priority":"required","size":null,"tags":["a"]}}}"#,
        r#"{"kind":"edge","type":{"id":"2","name":"DependsOn"},"id":"01JC0000000000000000000000","op":"delete","before":{"properties":{},"endpoints":{"from":"a","to":"b"}}}"#,
        r#"{"kind":"edge","type":{"id":"2","name":"DependsOn"},"id":"01JC0000000000000000000001","op":"update","before":{"properties":{"floor":null},"endpoints":{"from":"a","to":"b"}},"after":{"properties":{"floor":null},"endpoints":{"from":"a","to":"c"}}}"#,
    ];
    const CAUSE: &str = r#"{"graph_commit_id":"01JDB6000000000000000000T0","parent_commit_id":"01JDB5000000000000000000T0","authored_branch":"main","actor_id":"act-andrew","authored_at":1795355880000000}"#;

    fn shown(rendered: &Rendered) -> String {
        rendered.stdout(Format::Table).unwrap()
    }

    #[test]
    fn changes_are_shown_as_differences() {
        let list = CHANGES.join(",");
        let json = format!(r#"{{"cause":{CAUSE},"changes":[{list}],"next_page_token":"tok"}}"#);
        let output: CommitChangesOutput = understand(&json).unwrap();
        let mut text = shown(&commit(&output, &raw_changes(&output.changes), &json).unwrap());
        let json = format!(
            r#"{{"from":{{"branch":"main","graph_commit_id":"01JDB4000000000000000000T0"}},"to":{{"branch":"import","graph_commit_id":"01JDB6000000000000000000T0"}},"summary":[{{"entity_kind":"node","type_name":"Package","inserted":2,"updated":1,"deleted":0}}],"changes":[{}]}}"#,
            CHANGES[1]
        );
        let output: DiffOutput = understand(&json).unwrap();
        let changes = raw_changes(&output.changes);
        text += &shown(&diff("main", "import", &output, &changes, &json).unwrap());
        let json = format!(
            r#"{{"blocks":[{{"cause":{CAUSE},"changes":[{}]}}],"cursor":"eyJ2","caught_up":true}}"#,
            CHANGES[0]
        );
        text += &shown(&feed(&understand(&json).unwrap(), &json).unwrap());
        check("changes.txt", &text);
    }

    #[test]
    fn pages_are_joined_into_one_document() {
        let first = r#"{"cause":{"a":1},"changes":[1],"next_page_token":"t"}"#;
        let whole = joined(first, &["1", "2"]).unwrap();
        assert_eq!(whole, r#"{"cause":{"a":1},"changes":[1,2]}"#);
    }

    #[test]
    fn tags_are_listed() {
        let one = r#"{"name":"v1","graph_commit_id":"01JDB6000000000000000000T0","actor_id":null,"created_at":1795355880000000,"message":"first"}"#;
        let json = format!(r#"{{"tags":[{one}]}}"#);
        let mut text = shown(&tags(&[one], &json, 1_795_356_000_000_000).unwrap());
        text += &shown(&tag(&understand(one).unwrap(), one));
        check("tags.txt", &text);
    }
}
