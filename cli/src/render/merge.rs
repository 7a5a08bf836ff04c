//! Merges and their conflicts.

use omnigraph_proto::error::{ImageOutput, MergeConflictOutput};
use serde_json::Value;

use super::commit::changes;
use super::words::count;
use crate::client::shapes::{BranchMergeOutput, RevertOutput};
use crate::output::Rendered;

/// `import → main: merged, 1 conflict resolved (theirs), commit 01JDB6`, or what stands in the way.
pub(crate) fn merged(output: &BranchMergeOutput, json: &str) -> Rendered {
    let commit = output
        .commit
        .as_ref()
        .map(|c| c.graph_commit_id.clone())
        .unwrap_or_default();
    let way = format!("{} → {}", output.source, output.target);
    let text = match output.outcome.as_str() {
        "conflicted" => conflicted(&way, output),
        outcome => {
            let would = if output.dry_run { "would be " } else { "" };
            let mut text = format!("{way}: {would}{}", outcome.replace('_', " "));
            let gained = changes(&output.changes);
            if !gained.is_empty() {
                text.push_str(&format!(", {gained}"));
            }
            if !output.conflicts.is_empty() {
                text.push_str(&format!(", {}", resolved(output)));
            }
            if !commit.is_empty() {
                text.push_str(&format!(", commit {commit}"));
            }
            if output.branch_deleted == Some(true) {
                text.push_str(&format!(", {} deleted", output.source));
            }
            text
        }
    };
    let fields = [
        ("source", output.source.clone()),
        ("target", output.target.clone()),
        ("outcome", output.outcome.clone()),
        ("conflicts", total(output).to_string()),
        ("commit", commit),
    ];
    Rendered::record(text, &fields, json)
}

/// What a revert was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reverting<'a> {
    To(&'a str),
    Undo(&'a str),
}

/// `main: undid 01JDB4 (1 change), commit 01JDB7`, or what stands in the way.
pub(crate) fn reverted(output: &RevertOutput, what: Reverting<'_>, json: &str) -> Rendered {
    let (past, future, id) = match what {
        Reverting::To(id) => ("restored", "restore", id),
        Reverting::Undo(id) => ("undid", "undo", id),
    };
    let touched = output.changes.iter();
    let changed: u64 = touched.map(|t| t.inserted + t.updated + t.deleted).sum();
    let changed = count(changed, "change");
    let commit = output.commit.as_ref().map(|c| c.graph_commit_id.clone());
    let branch = &output.branch;
    let text = match (&commit, output.conflicts.is_empty()) {
        (_, false) => {
            let all = output.conflicts_total;
            let all = all.unwrap_or(output.conflicts.len() as u64);
            let mut lines = vec![format!("{branch}: would conflict, {id} was built upon")];
            lines.extend(conflicts(&output.conflicts, branch, "undoing"));
            lines.push(count(all, "conflict"));
            lines.join("\n")
        }
        (Some(commit), true) => format!("{branch}: {past} {id} ({changed}), commit {commit}"),
        (None, true) if output.dry_run => format!("{branch}: would {future} {id} ({changed})"),
        (None, true) => format!("{branch}: nothing to change"),
    };
    let fields = [
        ("branch", output.branch.clone()),
        ("commit", commit.unwrap_or_default()),
        ("changes", changed),
        ("conflicts", output.conflicts.len().to_string()),
    ];
    Rendered::record(text, &fields, json)
}

/// What a strategy would do.
pub(crate) fn hint(output: &BranchMergeOutput) -> String {
    match output.conflicts.iter().any(is_resolvable) {
        true => format!(
            "hint: --strategy theirs takes {}'s version, ours keeps {}'s",
            output.source, output.target
        ),
        false => "hint: no strategy decides these; change one of the branches".to_owned(),
    }
}

fn total(output: &BranchMergeOutput) -> u64 {
    output
        .conflicts_total
        .unwrap_or(output.conflicts.len() as u64)
}

/// `2 conflicts resolved (1 ours, 1 theirs)`.
fn resolved(output: &BranchMergeOutput) -> String {
    let by = |word: &str| {
        let conflicts = output.conflicts.iter();
        conflicts
            .filter(|c| c.resolution.as_deref() == Some(word))
            .count()
    };
    let ways = match (by("ours"), by("theirs")) {
        (_, 0) => "ours".to_owned(),
        (0, _) => "theirs".to_owned(),
        (ours, theirs) => format!("{ours} ours, {theirs} theirs"),
    };
    format!("{} resolved ({ways})", count(total(output), "conflict"))
}

fn conflicted(way: &str, output: &BranchMergeOutput) -> String {
    let base = output.merge_base.as_deref().unwrap_or("none");
    let mut lines = vec![format!("{way} would conflict (base {base})")];
    lines.extend(conflicts(&output.conflicts, &output.target, &output.source));
    let resolvable = output.conflicts.iter().filter(|c| is_resolvable(c));
    let all = count(total(output), "conflict");
    lines.push(match resolvable.count() {
        0 => all,
        some => format!("{all}; --strategy can resolve {some}"),
    });
    lines.join("\n")
}

/// One line for each conflict, and one for each property on which both sides disagree.
pub(crate) fn conflicts(
    conflicts: &[MergeConflictOutput],
    ours: &str,
    theirs: &str,
) -> Vec<String> {
    let heads: Vec<String> = conflicts.iter().map(head).collect();
    let width = heads.iter().map(|h| h.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (conflict, head) in conflicts.iter().zip(heads) {
        let tail = match &conflict.resolution {
            Some(whose) => format!("resolved ({whose})"),
            None if is_taste(conflict) => String::new(),
            None => conflict.message.clone(),
        };
        let line = format!("  {head:width$}  {}  {tail}", conflict.kind);
        lines.push(line.trim_end().to_owned());
        lines.extend(differences(conflict, ours, theirs));
    }
    lines
}

fn head(conflict: &MergeConflictOutput) -> String {
    let sign = match conflict.kind.as_str() {
        "divergent_insert" => '+',
        "divergent_update" => '~',
        "delete_vs_update" | "orphan_edge" => '-',
        _ => '!',
    };
    let id = conflict.entity_id.as_deref().unwrap_or("*");
    match conflict.type_name.is_empty() {
        true => format!("{sign} schema"),
        false => format!("{sign} {} {id}", conflict.type_name),
    }
}

fn is_taste(conflict: &MergeConflictOutput) -> bool {
    matches!(
        conflict.kind.as_str(),
        "divergent_insert" | "divergent_update" | "delete_vs_update"
    )
}

fn is_resolvable(conflict: &MergeConflictOutput) -> bool {
    is_taste(conflict) && conflict.resolution.is_none()
}

/// `    kb: 1 -> 2 on main, 3 on import`.
fn differences(conflict: &MergeConflictOutput, ours: &str, theirs: &str) -> Vec<String> {
    if !is_taste(conflict) {
        return Vec::new();
    }
    let sides = [&conflict.ours, &conflict.theirs];
    let (mine, other) = match sides {
        [Some(mine), Some(other)] => (mine, other),
        [None, Some(_)] => return vec![format!("    deleted on {ours}, changed on {theirs}")],
        [Some(_), None] => return vec![format!("    changed on {ours}, deleted on {theirs}")],
        [None, None] => return Vec::new(),
    };
    let before = |name: &str| match &conflict.base {
        Some(base) => format!("{} -> ", shown(value(base, name))),
        None => String::new(),
    };
    let mut lines = Vec::new();
    if mine.endpoints != other.endpoints
        && let (Some(a), Some(b)) = (&mine.endpoints, &other.endpoints)
    {
        lines.push(format!(
            "    {} -> {} on {ours}, {} -> {} on {theirs}",
            a.from, a.to, b.from, b.to
        ));
    }
    let names = mine.properties.as_object().into_iter().flatten();
    for (name, mine) in names {
        let other = value(other, name);
        if mine != other {
            lines.push(format!(
                "    {name}: {}{} on {ours}, {} on {theirs}",
                before(name),
                shown(mine),
                shown(other)
            ));
        }
    }
    lines
}

fn value<'a>(image: &'a ImageOutput, name: &str) -> &'a Value {
    image.properties.get(name).unwrap_or(&Value::Null)
}

/// Strings bare, null marked, long values cut.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::Null => "<null>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.chars().count() > LONGEST {
        true => text.chars().take(LONGEST).chain("…".chars()).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::client::data::understand;
    use crate::render::golden::check;

    const COMMIT: &str = r#"{"graph_commit_id":"01JDB6000000000000000000T0","graph_branch":"main","graph_manifest_version":7,"parent_commit_id":"01JDB5000000000000000000T0","merged_parent_commit_id":null,"actor_id":"act-andrew","created_at":1795355880000000,"kind":"merge"}"#;
    const CONFLICTS: &str = r#"[{"entity_kind":"node","type_name":"Package","entity_id":"bash","message":"both branches updated it, to different values","kind":"divergent_update","base":{"properties":{"name":"bash","kb":1,"priority":null}},"ours":{"properties":{"name":"bash","kb":2,"priority":"required"}},"theirs":{"properties":{"name":"bash","kb":3,"priority":"required"}}},{"entity_kind":"node","type_name":"Package","entity_id":"zsh","message":"m","kind":"delete_vs_update","base":{"properties":{}},"theirs":{"properties":{}}},{"entity_kind":"edge","type_name":"DependsOn","entity_id":"01JC","message":"`to`: Package `zsh` is deleted by the target","kind":"orphan_edge"}]"#;

    fn shown(json: &str) -> String {
        let rendered = merged(&understand(json).unwrap(), json);
        rendered.stdout(Format::Table).unwrap()
    }

    #[test]
    fn merges() {
        let forward = format!(
            r#"{{"source":"import","target":"main","outcome":"fast_forward","actor_id":null,"branch_deleted":true,"commit":{COMMIT},"changes":[{{"entity_kind":"node","type_name":"Package","inserted":7,"updated":1,"deleted":0}}]}}"#
        );
        let idle = r#"{"source":"import","target":"main","outcome":"already_up_to_date","actor_id":null,"commit":null,"dry_run":true}"#;
        let conflict = format!(
            r#"{{"source":"import","target":"main","outcome":"conflicted","actor_id":null,"commit":null,"dry_run":true,"merge_base":"01JDB2000000000000000000T0","conflicts":{CONFLICTS}}}"#
        );
        let decided = CONFLICTS.replace(r#""message":"#, r#""resolution":"theirs","message":"#);
        let resolved = format!(
            r#"{{"source":"import","target":"main","outcome":"merged","actor_id":null,"commit":{COMMIT},"conflicts":{decided}}}"#
        );
        let text = [&forward, idle, &conflict, &resolved].map(shown).concat();
        check("merges.txt", &text);
        let revert = |json: &str, what| {
            let rendered = reverted(&understand(json).unwrap(), what, json);
            rendered.stdout(Format::Table).unwrap()
        };
        let counts = r#"[{"entity_kind":"node","type_name":"Package","inserted":0,"updated":1,"deleted":0}]"#;
        let undid = format!(r#"{{"branch":"main","commit":{COMMIT},"changes":{counts}}}"#);
        let dry = format!(r#"{{"branch":"main","commit":null,"changes":{counts},"dry_run":true}}"#);
        let stuck = format!(
            r#"{{"branch":"main","commit":null,"changes":[],"conflicts":{CONFLICTS},"dry_run":true}}"#
        );
        let text = [
            revert(&undid, Reverting::Undo("01JDB4")),
            revert(&dry, Reverting::To("01JDB4")),
            revert(&stuck, Reverting::Undo("01JDB4")),
        ];
        check("reverts.txt", &text.concat());
        let output: BranchMergeOutput = understand(&conflict).unwrap();
        assert_eq!(
            hint(&output),
            "hint: --strategy theirs takes import's version, ours keeps main's"
        );
    }
}
