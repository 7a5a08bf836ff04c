//! Checked expressions as people wrote them, more or less.

use omnigraph_lang::query::{
    Arithmetic, CastMode, Comparison, Direction, Expr, ExprKind, Function, Hop, OwnField, Param,
    PropertyRef, RankCall, SearchKind, TextTest, VarId, VarKind, Variable,
};
use omnigraph_lang::schema::{Catalog, EntityType, PropertyId, TypeId};
use omnigraph_lang::value::{Int64Style, Value, to_json};

/// Long lists and texts are cut.
const LONGEST: usize = 80;

/// Names of what checked queries hold as numbers.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) params: &'a [Param],
    pub(super) variables: &'a [Variable],
    /// The target of a statement.
    pub(super) target: Option<TypeId>,
}

impl Words<'_> {
    pub(super) fn variable(&self, var: VarId) -> String {
        let name = self.variables.get(var.0 as usize);
        let name = name.and_then(|variable| variable.name.as_deref());
        format!("${}", name.unwrap_or("_"))
    }

    pub(super) fn type_name(&self, ty: TypeId) -> &str {
        let entity = self.catalog.entity(ty);
        entity.map_or("?", |entity| entity.body().name.as_str())
    }

    /// The possible types of a variable.
    pub(super) fn types(&self, var: VarId) -> String {
        let variable = self.variables.get(var.0 as usize);
        let types = variable.map_or(&[][..], |variable| variable.types.as_slice());
        let mut names: Vec<&str> = types.iter().map(|ty| self.type_name(*ty)).collect();
        names.sort_unstable();
        match names.is_empty() {
            true => "no type".to_owned(),
            false => names.join("|"),
        }
    }

    /// The hop without its ends: edge types and direction as written, and bounds.
    pub(super) fn edges(&self, hop: &Hop) -> String {
        let names: Vec<&str> = hop.edges.iter().map(|e| self.type_name(e.edge)).collect();
        let names = names.join("|");
        let both = (hop.edges.iter()).all(|edge| edge.direction == Direction::Both);
        let edges = if both { format!("<{names}>") } else { names };
        match (hop.min, hop.max) {
            (1, 1) => edges,
            (min, max) => format!("{edges}{{{min},{max}}}"),
        }
    }

    pub(super) fn hop(&self, hop: &Hop) -> String {
        let (from, to) = (self.variable(hop.from), self.variable(hop.to));
        let edges = self.edges(hop);
        match (hop.edge_var, hop.path_var) {
            (Some(edge), _) => format!("{from} {}:{edges} {to}", self.variable(edge)),
            (_, Some(path)) => {
                format!(
                    "path {} = shortest {from} {edges} {to}",
                    self.variable(path)
                )
            }
            _ => format!("{from} {edges} {to}"),
        }
    }

    fn property(&self, ty: Option<TypeId>, property: PropertyId) -> &str {
        let body = ty
            .and_then(|ty| self.catalog.entity(ty))
            .map(EntityType::body);
        let property = body.and_then(|body| body.property_by_id(property));
        property.map_or("?", |property| property.name.as_str())
    }

    pub(super) fn member(&self, var: VarId, property: &PropertyRef) -> String {
        let of = self.variables.get(var.0 as usize);
        let found = of.and_then(|variable| {
            let mut types = variable.types.iter();
            types.find_map(|ty| property.of(*ty).map(|property| (*ty, property)))
        });
        let name = found.map_or("?", |(ty, property)| self.property(Some(ty), property));
        format!("{}.{name}", self.variable(var))
    }

    pub(super) fn all(&self, exprs: &[&Expr]) -> Vec<String> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    pub(super) fn expr(&self, expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Literal(value) => literal(value),
            ExprKind::Param(id) => {
                let name = self
                    .params
                    .get(id.0 as usize)
                    .map_or("?", |p| p.name.as_str());
                format!("${name}")
            }
            ExprKind::Now => "now()".to_owned(),
            ExprKind::Property { var, property } => self.member(*var, property),
            ExprKind::Var(var) => self.variable(*var),
            ExprKind::EntityId(var) => format!("id({})", self.variable(*var)),
            ExprKind::TypeName(var) => format!("type_name({})", self.variable(*var)),
            ExprKind::FromId(var) => format!("from_id({})", self.variable(*var)),
            ExprKind::ToId(var) => format!("to_id({})", self.variable(*var)),
            ExprKind::PathLength(var) => format!("length({})", self.variable(*var)),
            ExprKind::PathNodes(var) => format!("nodes({})", self.variable(*var)),
            ExprKind::PathEdges(var) => format!("edges({})", self.variable(*var)),
            ExprKind::Own(field) => match field {
                OwnField::Id => "id".to_owned(),
                OwnField::From => "from".to_owned(),
                OwnField::To => "to".to_owned(),
                OwnField::Property(id) => self.property(self.target, *id).to_owned(),
            },
            ExprKind::GroupKey(at) => format!("key {}", at + 1),
            ExprKind::AggregateResult(at) => format!("aggregate {}", at + 1),
            ExprKind::List(items) => format!("[{}]", self.list(items, ", ")),
            ExprKind::Compare { op, left, right } => self.both(left, comparison(*op), right),
            ExprKind::Text { test, text, part } => {
                let word = match test {
                    TextTest::Contains => "contains",
                    TextTest::StartsWith => "starts_with",
                    TextTest::EndsWith => "ends_with",
                };
                self.both(text, word, part)
            }
            ExprKind::In { item, list } => self.both(item, "in", list),
            ExprKind::And(parts) => self.list(parts, " and "),
            ExprKind::Or(parts) => self.list(parts, " or "),
            ExprKind::Not(part) => format!("not {}", self.inner(part)),
            ExprKind::IsNull(part) => format!("{} is null", self.inner(part)),
            ExprKind::Arithmetic { op, left, right } => {
                let sign = match op {
                    Arithmetic::Add => "+",
                    Arithmetic::Sub => "-",
                    Arithmetic::Mul => "*",
                    Arithmetic::Div => "/",
                    Arithmetic::Rem => "%",
                };
                self.both(left, sign, right)
            }
            ExprKind::Negate(part) => format!("-{}", self.inner(part)),
            ExprKind::Call { function, args } => {
                let args: Vec<String> = args.iter().map(|arg| self.expr(arg)).collect();
                format!("{}({})", function_name(*function), args.join(", "))
            }
            // What a comparison converts by itself nobody wrote.
            ExprKind::Cast {
                value,
                mode: CastMode::Round,
                ..
            } => self.expr(value),
            ExprKind::Cast { value, to, mode } => {
                let word = if *mode == CastMode::Try {
                    "try_cast"
                } else {
                    "cast"
                };
                format!("{word}({} as {to})", self.expr(value))
            }
            ExprKind::Search(call) => {
                let of = self.member(call.var, &call.property);
                let query = self.expr(&call.query);
                match &call.kind {
                    SearchKind::AnyToken => format!("search({of}, {query})"),
                    SearchKind::Phrase => format!("phrase({of}, {query})"),
                    SearchKind::Fuzzy { edits } => {
                        format!("fuzzy({of}, {query}, {})", self.expr(edits))
                    }
                }
            }
            ExprKind::Score(call) => self.rank(call),
        }
    }

    pub(super) fn rank(&self, call: &RankCall) -> String {
        match call {
            RankCall::Nearest {
                var,
                property,
                query,
            } => format!(
                "nearest({}, {})",
                self.member(*var, property),
                self.expr(query)
            ),
            RankCall::Bm25 {
                var,
                property,
                query,
            } => format!(
                "bm25({}, {})",
                self.member(*var, property),
                self.expr(query)
            ),
            RankCall::Rrf { arms, k } => format!(
                "rrf({}, {}, {})",
                self.rank(&arms[0]),
                self.rank(&arms[1]),
                self.expr(k)
            ),
        }
    }

    fn both(&self, left: &Expr, word: &str, right: &Expr) -> String {
        format!("{} {word} {}", self.inner(left), self.inner(right))
    }

    fn list(&self, parts: &[Expr], between: &str) -> String {
        let parts: Vec<String> = parts.iter().map(|part| self.inner(part)).collect();
        parts.join(between)
    }

    /// An operand, in parentheses where it has operators of its own.
    fn inner(&self, expr: &Expr) -> String {
        let text = self.expr(expr);
        match &expr.kind {
            ExprKind::Compare { .. }
            | ExprKind::Text { .. }
            | ExprKind::In { .. }
            | ExprKind::And(_)
            | ExprKind::Or(_)
            | ExprKind::Not(_)
            | ExprKind::IsNull(_)
            | ExprKind::Arithmetic { .. } => format!("({text})"),
            _ => text,
        }
    }

    /// `$p: Package`, for variables that no hop introduces.
    pub(super) fn binding(&self, var: VarId) -> Option<String> {
        let variable = self.variables.get(var.0 as usize)?;
        let node = variable.kind == VarKind::Node;
        node.then(|| format!("{}: {}", self.variable(var), self.types(var)))
    }
}

fn literal(value: &Value) -> String {
    let text = match value {
        Value::Date(_) => format!("date({})", to_json(value, Int64Style::Number)),
        Value::DateTime(_) => format!("datetime({})", to_json(value, Int64Style::Number)),
        value => to_json(value, Int64Style::Number).to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    let mut cut: String = text.chars().take(LONGEST).collect();
    cut.push('…');
    cut
}

fn comparison(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => "=",
        Comparison::Ne => "!=",
        Comparison::Lt => "<",
        Comparison::Le => "<=",
        Comparison::Gt => ">",
        Comparison::Ge => ">=",
    }
}

fn function_name(function: Function) -> String {
    format!("{function:?}").to_lowercase()
}
