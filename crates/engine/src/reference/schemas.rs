//! Random schemas and data.

use std::collections::BTreeMap;
use std::fmt::Write;

use omnigraph_lang::schema::{
    Catalog, DataType, EntityType, Member, Property, Scalar, TypeId, parse_schema,
};
use omnigraph_lang::value::{Value, derive_id, spell};

use super::data::{Entity, World};
use super::random::Random;
use super::writing::violations;

/// Types that properties may have.
const TYPES: [&str; 16] = [
    "String",
    "Bool",
    "I32",
    "I64",
    "U32",
    "U64",
    "F32",
    "F64",
    "Date",
    "DateTime",
    "[String]",
    "[I64]",
    "Vector(2)",
    "enum(red, green, blue)",
    "String",
    "I64",
];

/// Texts; each word is its own stem.
pub(super) const TEXTS: [&str; 9] = [
    "",
    "a",
    "oak",
    "oak fig",
    "Fig zinc oak",
    "é€",
    "İstanbul ß",
    "A",
    "10",
];

pub(super) fn schema(random: &mut Random) -> (String, Catalog) {
    let mut text = String::new();
    let interfaces = 1 + random.below(2);
    for at in 0..interfaces {
        let _ = writeln!(
            text,
            "interface I{at} {{ shared{at}: {}? }}",
            random.pick(&TYPES)
        );
    }
    let nodes = 2 + random.below(3);
    for at in 0..nodes {
        let implements: Vec<String> = (0..interfaces)
            .filter(|i| at == *i || random.one_in(2))
            .map(|i| format!("I{i}"))
            .collect();
        let _ = write!(text, "node N{at} ");
        if !implements.is_empty() {
            let _ = write!(text, "implements {} ", implements.join(", "));
        }
        let _ = writeln!(text, "{{ {} {} }}", key(random), properties(random));
    }
    for at in 0..2 + random.below(4) {
        let (from, to) = (random.below(nodes), random.below(nodes));
        let card = if random.one_in(6) { "@card(0..2)" } else { "" };
        let rule = match random.below(6) {
            0 => "@unique(src, dst)",
            1 => "@key(src, dst)",
            _ => "",
        };
        let _ = writeln!(
            text,
            "edge E{at}: N{from} -> N{to} {card} {{ weight: I64? {} {rule} }}",
            properties(random)
        );
    }
    let (catalog, _) = parse_schema(&text).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    (text, catalog)
}

fn key(random: &mut Random) -> &'static str {
    const KEYS: [&str; 6] = [
        "k: String @key",
        "k: String @key",
        "k: I64 @key",
        "k: String  l: I32  @key(k, l)",
        "k: Bool  l: Date  @key(k, l)",
        "k: String?",
    ];
    KEYS[random.below(KEYS.len())]
}

fn properties(random: &mut Random) -> String {
    let mut text = String::new();
    for at in 0..random.below(5) {
        let ty = random.pick(&TYPES);
        let nullable = if random.one_in(3) { "" } else { "?" };
        let _ = write!(text, " p{at}: {ty}{nullable}");
        if matches!(*ty, "I32" | "I64") && random.one_in(4) {
            let _ = write!(text, " @range(p{at}, 0..)");
        }
        if *ty == "String" && random.one_in(4) {
            let _ = write!(text, " @check(p{at}, \"^[a-zA-Z ]*$\")");
        }
        if matches!(*ty, "String" | "I32") && random.one_in(5) {
            let _ = write!(text, " @unique(p{at})");
        }
        if matches!(*ty, "I64") && random.one_in(4) {
            // After the constraint the annotation would belong to nothing: a property of its own.
            let _ = write!(text, " d{at}: I64 @default(7)");
        }
    }
    text
}

/// A value of a type; few different ones, so that equal ones meet.
pub(super) fn value(random: &mut Random, ty: &DataType) -> Value {
    match ty {
        DataType::Scalar(scalar) => scalar_value(random, *scalar),
        DataType::Enum(words) => Value::String(random.pick(words).clone()),
        DataType::List(scalar) => {
            let count = random.below(3);
            Value::List((0..count).map(|_| scalar_value(random, *scalar)).collect())
        }
        DataType::Vector(width) => {
            let mut number = || random.below(5) as f32 / 2.0;
            Value::Vector((0..*width).map(|_| number()).collect())
        }
        DataType::Blob => panic!("no blobs here"),
    }
}

fn scalar_value(random: &mut Random, scalar: Scalar) -> Value {
    let small = random.below(4) as i64;
    let edge = random.one_in(12);
    match scalar {
        Scalar::String => Value::String((*random.pick(&TEXTS)).to_owned()),
        Scalar::Bool => Value::Bool(random.one_in(2)),
        Scalar::I32 if edge => Value::Int(i32::MAX.into()),
        Scalar::I64 if edge => {
            Value::Int(*random.pick(&[i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1]))
        }
        Scalar::I32 | Scalar::I64 => Value::Int(small - i64::from(random.one_in(4)) * 3),
        Scalar::U32 if edge => Value::UInt(u32::MAX.into()),
        Scalar::U64 if edge => Value::UInt(u64::MAX),
        Scalar::U32 | Scalar::U64 => Value::UInt(small.unsigned_abs()),
        Scalar::F32 => Value::F32(*random.pick(&[0.0, 0.5, -1.5, 0.1, 2.0, 3.0e30])),
        Scalar::F64 => Value::F64(*random.pick(&[0.0, 0.5, -1.5, 0.1, 2.0, 1.005, 1e300])),
        Scalar::Date if edge => Value::Date(*random.pick(&[-719_529, 2_932_897])),
        Scalar::Date => Value::Date(19_700 + small as i32),
        Scalar::DateTime if edge => Value::DateTime(-1),
        Scalar::DateTime => Value::DateTime(1_700_000_000_000 + small * 43_200_000),
    }
}

/// A graph that keeps the rules of its schema.
pub(super) fn world(random: &mut Random, catalog: Catalog) -> World {
    let mut world = World::new(catalog);
    let types: Vec<TypeId> = world.catalog.entities().map(|e| e.body().id).collect();
    for ty in types {
        let is_node = world.catalog.node_by_id(ty).is_some();
        let count = random.below(if is_node { 6 } else { 9 });
        for number in 0..count {
            let Some(entity) = entity(random, &world, ty, number) else {
                continue;
            };
            if world.find(ty, &entity.id).is_some() {
                continue;
            }
            let mut more = world.clone();
            more.entities.push(entity);
            if violations(&world, &more).is_empty() {
                world = more;
            }
        }
    }
    world
}

fn entity(random: &mut Random, world: &World, ty: TypeId, number: usize) -> Option<Entity> {
    let body = world.body(ty);
    let mut values = BTreeMap::new();
    for property in &body.properties {
        let value = match property.nullable && random.one_in(3) {
            true => Value::Null,
            false => self::value(random, &property.data_type),
        };
        values.insert(property.id, value);
    }
    let ends = match world.catalog.entity(ty)? {
        EntityType::Node(_) => None,
        EntityType::Edge(edge) => {
            let mut end = |ty| {
                let all = world.of_type(ty);
                let at = (!all.is_empty()).then(|| *random.pick(&all))?;
                Some(world.entities[at].id.clone())
            };
            Some([end(edge.from)?, end(edge.to)?])
        }
    };
    let id = match &body.key {
        // Ids that are not those of ULIDs, so that fresh ones are told apart.
        None => format!("x{number}"),
        Some(key) => id_of(key, &values, ends.as_ref()),
    };
    Some(Entity {
        ty,
        id,
        ends,
        values,
    })
}

pub(super) fn id_of(
    key: &[Member],
    values: &BTreeMap<omnigraph_lang::schema::PropertyId, Value>,
    ends: Option<&[String; 2]>,
) -> String {
    let spelled: Vec<String> = key
        .iter()
        .map(|member| match member {
            Member::Src => ends.expect("an edge")[0].clone(),
            Member::Dst => ends.expect("an edge")[1].clone(),
            Member::Property(id) => spell(&values[id]).expect("a key"),
        })
        .collect();
    derive_id(&spelled)
}

/// Properties that have this name in all types, with one data type.
pub(super) fn shared(world: &World, types: &[TypeId]) -> Vec<Property> {
    let Some((first, others)) = types.split_first() else {
        return Vec::new();
    };
    let mine = world.body(*first).properties.iter();
    mine.filter(|property| {
        others.iter().all(|ty| {
            let other = world.body(*ty).property(&property.name);
            other.is_some_and(|other| other.data_type == property.data_type)
        })
    })
    .cloned()
    .collect()
}
