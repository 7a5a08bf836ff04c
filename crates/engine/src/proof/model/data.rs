//! What the model knows: plain maps, and what schema changes and merges make of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::MergeStrategy;

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) size: Option<i64>,
    /// The value of the property that comes and goes.
    pub(super) extra: Option<i64>,
}

/// What one commit says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) packages: BTreeMap<String, Row>,
    pub(super) edges: BTreeMap<(String, String), Option<i64>>,
}

/// A property that comes and goes, and changes its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extra {
    /// Another one under the same name is not the same.
    pub(super) id: usize,
    pub(super) name: &'static str,
    pub(super) default: i64,
}

/// A schema of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Schema {
    pub(super) extra: Option<Extra>,
    /// The largest size that is allowed.
    pub(super) most: Option<i64>,
}

/// A change of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Add(i64),
    Rename,
    Drop,
    Bound(i64),
    Unbound,
}

impl Change {
    /// The schema after it, and the name that the property had where it gets another one; none if
    /// it changes nothing. `id` is that of a property that is added.
    pub(super) fn of(self, schema: &Schema, id: usize) -> Option<(Schema, Option<&'static str>)> {
        let mut next = schema.clone();
        let mut before = None;
        match (self, &mut next.extra, &mut next.most) {
            (Self::Add(default), extra @ None, _) => {
                let name = "level";
                *extra = Some(Extra { id, name, default });
            }
            (Self::Rename, Some(extra), _) => {
                before = Some(extra.name);
                extra.name = match extra.name {
                    "level" => "rank",
                    _ => "level",
                };
            }
            (Self::Drop, extra @ Some(_), _) => *extra = None,
            (Self::Bound(bound), _, most) if *most != Some(bound) => *most = Some(bound),
            (Self::Unbound, _, most @ Some(_)) => *most = None,
            _ => return None,
        }
        Some((next, before))
    }
}

impl Schema {
    /// As people write it.
    pub(super) fn source(&self, renamed_from: Option<&str>) -> String {
        let extra = self.extra.as_ref().map_or(String::new(), |extra| {
            let from =
                renamed_from.map_or(String::new(), |from| format!(r#" @rename_from("{from}")"#));
            format!("{}: I32 @default({}){from}", extra.name, extra.default)
        });
        let most = self
            .most
            .map_or(String::new(), |most| format!("@range(size, 0..{most})"));
        format!(
            "node Package {{ name: String @key  size: I32?  {extra}  {most} }}
edge DependsOn: Package -> Package {{ floor: I32?  @key(src, dst) }}"
        )
    }

    /// Whether all rows keep its rules.
    pub(super) fn admits(&self, data: &Data) -> bool {
        let mut rows = data.packages.values();
        rows.all(|row| self.admits_size(row.size))
    }

    pub(super) fn admits_size(&self, size: Option<i64>) -> bool {
        match (self.most, size) {
            (Some(most), Some(size)) => (0..=most).contains(&size),
            _ => true,
        }
    }

    /// Data of an older schema under this one.
    pub(super) fn carry(&self, from: &Schema, data: &Data) -> Data {
        let kept = match (&self.extra, &from.extra) {
            (Some(new), Some(old)) => new.id == old.id,
            _ => false,
        };
        let mut data = data.clone();
        for row in data.packages.values_mut() {
            row.extra = match &self.extra {
                None => None,
                Some(_) if kept => row.extra,
                Some(extra) => Some(extra.default),
            };
        }
        data
    }
}

/// What a merge has to give.
#[derive(Debug)]
pub(super) enum Merged {
    /// This and nothing else.
    Exactly(Data),
    /// A conflict.
    Refused,
    /// Several bases say the opposite of each other about these entities: a conflict, or this with
    /// the version of any side of each of them.
    Doubtful {
        data: Data,
        packages: BTreeMap<String, [Option<Row>; 2]>,
        edges: BTreeMap<(String, String), [Option<Option<i64>>; 2]>,
    },
}

/// Entities that were merged.
struct Maps<K, V> {
    merged: BTreeMap<K, V>,
    doubtful: BTreeMap<K, [Option<V>; 2]>,
}

pub(super) fn merge(bases: &[Data], ours: &Data, theirs: &Data, strategy: MergeStrategy) -> Merged {
    let of = |pick: fn(&Data) -> &BTreeMap<String, Row>| {
        let bases: Vec<_> = bases.iter().map(pick).collect();
        merge_maps(&bases, pick(ours), pick(theirs), strategy)
    };
    type Edges = BTreeMap<(String, String), Option<i64>>;
    let edges_of = |pick: fn(&Data) -> &Edges| {
        let bases: Vec<_> = bases.iter().map(pick).collect();
        merge_maps(&bases, pick(ours), pick(theirs), strategy)
    };
    let (Some(packages), Some(edges)) = (of(|data| &data.packages), edges_of(|data| &data.edges))
    else {
        return Merged::Refused;
    };
    let data = Data {
        packages: packages.merged,
        edges: edges.merged,
    };
    if !packages.doubtful.is_empty() || !edges.doubtful.is_empty() {
        return Merged::Doubtful {
            data,
            packages: packages.doubtful,
            edges: edges.doubtful,
        };
    }
    match whole(&data) {
        true => Merged::Exactly(data),
        false => Merged::Refused,
    }
}

/// No edge hangs in the air.
pub(super) fn whole(data: &Data) -> bool {
    let there = |name: &String| data.packages.contains_key(name);
    data.edges.keys().all(|(from, to)| there(from) && there(to))
}

/// None is a conflict.
fn merge_maps<K: Ord + Clone, V: Eq + Clone>(
    bases: &[&BTreeMap<K, V>],
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
    strategy: MergeStrategy,
) -> Option<Maps<K, V>> {
    let keys: BTreeSet<&K> = bases
        .iter()
        .flat_map(|base| base.keys())
        .chain(ours.keys())
        .chain(theirs.keys())
        .collect();
    let mut maps = Maps {
        merged: BTreeMap::new(),
        doubtful: BTreeMap::new(),
    };
    for key in keys {
        let (o, t) = (ours.get(key), theirs.get(key));
        // Which side may be taken, by each base.
        let ours_by = |base: &&BTreeMap<K, V>| o == t || t == base.get(key);
        let theirs_by = |base: &&BTreeMap<K, V>| o == base.get(key) && o != t;
        let says_ours = bases.iter().any(ours_by);
        let says_theirs = bases.iter().any(|base| !ours_by(base) && theirs_by(base));
        let value = match (says_ours, says_theirs) {
            (true, true) => {
                maps.doubtful.insert(key.clone(), [o.cloned(), t.cloned()]);
                o
            }
            (true, false) => o,
            (false, true) => t,
            (false, false) => match strategy {
                MergeStrategy::Fail => return None,
                MergeStrategy::Ours => o,
                MergeStrategy::Theirs => t,
            },
        };
        if let Some(value) = value {
            maps.merged.insert(key.clone(), value.clone());
        }
    }
    Some(maps)
}
