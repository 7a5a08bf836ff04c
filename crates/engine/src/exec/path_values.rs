//! The paths that a variable stands for, and their values.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, ListArray, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field as ArrowField, Fields};
use omnigraph_lang::query::VarId;

use super::column::NONE;
use super::execution::Execution;
use super::paths::by_name;
use super::scope::{Field, TEXT};
use super::space::{EntityColumn, Space};
use crate::error::{Error, Result};

/// Paths by number, those of one variable. Cheap to clone.
#[derive(Clone)]
pub(crate) struct PathTable {
    nodes: Arc<Space>,
    edges: Arc<Space>,
    data: Arc<Data>,
}

#[derive(Clone, Default)]
struct Data {
    /// Where the nodes of each path end; its edges end as many places before as there are paths
    /// up to it.
    ends: Vec<usize>,
    nodes: Vec<u32>,
    edges: Vec<u32>,
}

impl PathTable {
    pub(super) fn new(nodes: Arc<Space>, edges: Arc<Space>) -> Self {
        Self {
            nodes,
            edges,
            data: Arc::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.data.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        8 * self.data.ends.len() + 4 * (self.data.nodes.len() + self.data.edges.len())
    }

    /// Adds a path of one edge less than nodes; gives its number.
    pub(super) fn push(&mut self, nodes: &[u32], edges: &[u32]) -> u32 {
        debug_assert_eq!(nodes.len(), edges.len() + 1);
        // There is one owner while paths are being found.
        let data = Arc::make_mut(&mut self.data);
        data.nodes.extend(nodes);
        data.edges.extend(edges);
        data.ends.push(data.nodes.len());
        data.ends.len() as u32 - 1
    }

    fn nodes_of(&self, path: u32) -> &[u32] {
        let at = path as usize;
        let start = if at == 0 { 0 } else { self.data.ends[at - 1] };
        &self.data.nodes[start..self.data.ends[at]]
    }

    fn edges_of(&self, path: u32) -> &[u32] {
        let at = path as usize;
        let start = if at == 0 { 0 } else { self.data.ends[at - 1] };
        &self.data.edges[start - at..self.data.ends[at] - at - 1]
    }
}

/// Paths with what their values are made of.
pub(crate) struct PathValues {
    table: PathTable,
    node_ids: EntityColumn,
    edge_ids: EntityColumn,
    /// The stored ends of the edges.
    from: EntityColumn,
    to: EntityColumn,
}

impl Execution<'_> {
    pub(crate) async fn path_values(&mut self, var: VarId) -> Result<PathValues> {
        let table = match self.paths.get(&var) {
            Some(table) => table.clone(),
            // The block that binds it never ran.
            None => {
                let none = self.space_of(&[]).await?;
                PathTable::new(none.clone(), none)
            }
        };
        Ok(PathValues {
            node_ids: self.column_in(&table.nodes, &Field::Id, TEXT).await?,
            edge_ids: self.column_in(&table.edges, &Field::Id, TEXT).await?,
            from: self.column_in(&table.edges, &Field::From, TEXT).await?,
            to: self.column_in(&table.edges, &Field::To, TEXT).await?,
            table,
        })
    }
}

/// The Arrow type of a whole path.
pub(crate) fn whole_type() -> DataType {
    let list = |members: &[&str]| {
        let item = ArrowField::new("item", DataType::Struct(texts(members)), false);
        DataType::List(Arc::new(item))
    };
    DataType::Struct(Fields::from(vec![
        ArrowField::new("nodes", list(&["type", "id"]), false),
        ArrowField::new("edges", list(&["type", "id", "from", "to"]), false),
        ArrowField::new("length", DataType::Int64, false),
    ]))
}

fn texts(members: &[&str]) -> Fields {
    members
        .iter()
        .map(|name| ArrowField::new(*name, DataType::Utf8, false))
        .collect()
}

impl PathValues {
    /// The order of two paths: by their nodes, then by their edges.
    pub(crate) fn compare(&self, a: u32, b: u32) -> std::cmp::Ordering {
        let by = |space: &Space, ids: &EntityColumn, a: &[u32], b: &[u32]| {
            let pairs = a.iter().zip(b);
            let differing = pairs.map(|(a, b)| by_name(space, ids, *a, *b));
            let first = differing.into_iter().find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        };
        let (table, nodes, edges) = (&self.table, &self.node_ids, &self.edge_ids);
        by(&table.nodes, nodes, table.nodes_of(a), table.nodes_of(b))
            .then_with(|| by(&table.edges, edges, table.edges_of(a), table.edges_of(b)))
    }

    /// `length($r)`.
    pub(crate) fn lengths(&self, paths: &[u32]) -> ArrayRef {
        let length = |&path: &u32| (path != NONE).then(|| self.table.edges_of(path).len() as i64);
        Arc::new(paths.iter().map(length).collect::<Int64Array>())
    }

    /// `nodes($r)`.
    pub(crate) fn node_ids(&self, paths: &[u32]) -> Result<ArrayRef> {
        let members = self.members(paths, PathTable::nodes_of);
        list(paths, &members, true, self.node_ids.gather(&members.all)?)
    }

    /// `edges($r)`.
    pub(crate) fn edge_ids(&self, paths: &[u32]) -> Result<ArrayRef> {
        let members = self.members(paths, PathTable::edges_of);
        list(paths, &members, true, self.edge_ids.gather(&members.all)?)
    }

    /// The path itself.
    pub(crate) fn whole(&self, paths: &[u32]) -> Result<ArrayRef> {
        let DataType::Struct(fields) = whole_type() else {
            return Err(Error::internal("a path is no struct"));
        };
        let nodes = self.members(paths, PathTable::nodes_of);
        let columns = vec![
            type_names(&self.table.nodes, &nodes.all),
            self.node_ids.gather(&nodes.all)?,
        ];
        let items = StructArray::try_new(texts(&["type", "id"]), columns, None)?;
        let node_list = list(paths, &nodes, false, Arc::new(items))?;
        let edges = self.members(paths, PathTable::edges_of);
        let columns = vec![
            type_names(&self.table.edges, &edges.all),
            self.edge_ids.gather(&edges.all)?,
            self.from.gather(&edges.all)?,
            self.to.gather(&edges.all)?,
        ];
        let items = StructArray::try_new(texts(&["type", "id", "from", "to"]), columns, None)?;
        let edge_list = list(paths, &edges, false, Arc::new(items))?;
        let length = |&path: &u32| match path {
            NONE => 0,
            path => self.table.edges_of(path).len() as i64,
        };
        let lengths: ArrayRef = Arc::new(Int64Array::from_iter_values(paths.iter().map(length)));
        // The members of a null path are not null, but nobody looks at them.
        let parts = vec![
            without_nulls(&node_list)?,
            without_nulls(&edge_list)?,
            lengths,
        ];
        Ok(Arc::new(StructArray::try_new(fields, parts, nulls(paths))?))
    }

    fn members<'a>(
        &'a self,
        paths: &[u32],
        of: impl Fn(&'a PathTable, u32) -> &'a [u32],
    ) -> Members {
        let mut members = Members::default();
        for &path in paths {
            let some = match path {
                NONE => &[],
                path => of(&self.table, path),
            };
            members.all.extend(some);
            members.lengths.push(some.len());
        }
        members
    }
}

/// The nodes or edges of several paths.
#[derive(Default)]
struct Members {
    all: Vec<u32>,
    lengths: Vec<usize>,
}

fn nulls(paths: &[u32]) -> Option<NullBuffer> {
    let valid: NullBuffer = paths
        .iter()
        .map(|path| *path != NONE)
        .collect::<Vec<_>>()
        .into();
    (valid.null_count() > 0).then_some(valid)
}

fn list(
    paths: &[u32],
    members: &Members,
    nullable_items: bool,
    items: ArrayRef,
) -> Result<ArrayRef> {
    let field = ArrowField::new("item", items.data_type().clone(), nullable_items);
    let offsets = OffsetBuffer::from_lengths(members.lengths.iter().copied());
    Ok(Arc::new(ListArray::try_new(
        Arc::new(field),
        offsets,
        items,
        nulls(paths),
    )?))
}

fn without_nulls(array: &ArrayRef) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().nulls(None).build()?;
    Ok(arrow_array::make_array(data))
}

fn type_names(space: &Space, members: &[u32]) -> ArrayRef {
    let name = |&number: &u32| space.parts()[space.place(number).0].name.as_str();
    Arc::new(StringArray::from_iter_values(members.iter().map(name)))
}
