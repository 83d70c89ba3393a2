//! Compiles `protos/` without protoc and derives the table of calls from the options on each method.
//!
//! The build fails on a call without a rule and on a repeated reply field without a bound, so neither can be forgotten.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};

const ROOT: &str = "../../../protos";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let files = proto_files(Path::new(ROOT))?;
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_source_info(true).include_imports(true).open_files(&files)?;
    let pool = compiler.descriptor_pool();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("rpc_table.rs"), rpc_table(&pool)?)?;
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let mut descriptors = compiler.file_descriptor_set();
    // The options have been read above; generated code does not need them.
    descriptors.file.retain(|file| file.package() != "sf");
    for file in &mut descriptors.file {
        file.dependency.retain(|name| name != "sf/options.proto");
    }
    tonic_prost_build::configure().emit_rerun_if_changed(false).compile_fds(descriptors)?;
    Ok(())
}

fn proto_files(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// One `impl Rpc` for the request of every call that carries a rule: the calls of the database tier.
fn rpc_table(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let rule_option = pool.get_extension_by_name("sf.rule").ok_or("sf.rule is not declared")?;
    let mut code = String::new();
    let mut rules = String::new();
    let mut problems = Vec::new();
    for service in pool.services() {
        let tier = service.methods().any(|method| method.options().has_extension(&rule_option));
        if !tier {
            continue;
        }
        for method in service.methods() {
            let options = method.options();
            if !options.has_extension(&rule_option) {
                problems.push(format!("{}: a call needs (sf.rule)", method.full_name()));
                continue;
            }
            let Value::Message(rule) = options.get_extension(&rule_option).into_owned() else {
                return Err("sf.rule is not a message".into());
            };
            check_bounds(pool, &method.output(), &mut BTreeSet::new(), &mut problems)?;
            write_impl(&mut code, &mut rules, &method, &rule)?;
        }
    }
    if problems.is_empty() {
        writeln!(code, "/// Every call of the database tier.\npub static CALLS: &[Call] = &[\n{rules}];")?;
        Ok(code)
    } else {
        Err(problems.join("\n").into())
    }
}

fn write_impl(
    code: &mut String,
    rules: &mut String,
    method: &MethodDescriptor,
    rule: &DynamicMessage,
) -> Result<(), Box<dyn Error>> {
    let service = method.parent_service().full_name().to_owned();
    let name = method.name();
    let request = rust_path(&method.input());
    let reply = rust_path(&method.output());
    let kind = ["READ", "READ", "MUTATION", "ABSOLUTE"]
        .get(enum_field(rule, "kind")?)
        .ok_or("unknown kind of call")?;
    let kind = match *kind {
        "READ" => "Read",
        "MUTATION" => "Mutation",
        _ => "Absolute",
    };
    let scope =
        ["Any", "OwnNode", "Leader"].get(enum_field(rule, "scope")?).ok_or("unknown scope of call")?;
    let callers: Vec<String> = match rule.get_field_by_name("callers").as_deref() {
        Some(Value::List(list)) => {
            list.iter().filter_map(|v| v.as_str().map(|s| format!("\"{s}\""))).collect()
        }
        _ => Vec::new(),
    };
    let context = method.input().get_field_by_name("context").is_some();
    let node =
        method.input().get_field_by_name("node_uuid").is_some_and(|f| !f.supports_presence() && !f.is_list());
    let node = if node { "Some(self.node_uuid.as_str())" } else { "None" };
    let fill =
        if context { "if self.context.is_none() { self.context = Some(make()); }" } else { "let _ = make;" };
    let read = if context { "self.context.as_ref()" } else { "None" };
    writeln!(
        code,
        "impl Rpc for {request} {{\n    type Reply = {reply};\n    const CALL: Call = Call {{ service: \"{service}\", method: \"{name}\", path: \
         \"/{service}/{name}\", kind: CallKind::{kind}, scope: CallScope::{scope}, callers: &[{callers}] }};\n    fn fill_context(&mut \
         self, make: impl FnOnce() -> crate::common::MutationContext) {{ {fill} }}\n    fn context(&self) -> \
         Option<&crate::common::MutationContext> {{ {read} }}\n    fn node_uuid(&self) -> Option<&str> {{ {node} }}\n}}",
        callers = callers.join(", "),
    )?;
    writeln!(rules, "    <{request} as Rpc>::CALL,")?;
    Ok(())
}

fn enum_field(rule: &DynamicMessage, name: &str) -> Result<usize, Box<dyn Error>> {
    match rule.get_field_by_name(name).as_deref() {
        Some(Value::EnumNumber(number)) => Ok(usize::try_from(*number)?),
        _ => Err(format!("sf.rule has no {name}").into()),
    }
}

/// Every repeated field that a reply can carry must say how it is bounded.
fn check_bounds(
    pool: &DescriptorPool,
    message: &MessageDescriptor,
    seen: &mut BTreeSet<String>,
    problems: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    let bound = pool.get_extension_by_name("sf.bound").ok_or("sf.bound is not declared")?;
    // Events and intents are bounded by their own documents and checked where they are made.
    let own_limits = ["shakenfist.events.v1.Event", "shakenfist.net_privexec.v1"];
    if own_limits
        .iter()
        .any(|prefix| message.full_name().starts_with(prefix) && !message.full_name().ends_with("Reply"))
        || message.full_name().starts_with("google.")
        || !seen.insert(message.full_name().to_owned())
    {
        return Ok(());
    }
    for field in message.fields() {
        if field.is_list() && !field.options().has_extension(&bound) {
            problems.push(format!("{}: a repeated reply field needs (sf.bound)", field.full_name()));
        }
        if let prost_reflect::Kind::Message(inner) = field.kind() {
            check_bounds(pool, &inner, seen, problems)?;
        }
    }
    Ok(())
}

/// `shakenfist.nodes.v1.GetNodeRequest` is `crate::nodes::GetNodeRequest`.
fn rust_path(message: &MessageDescriptor) -> String {
    let package = message.package_name();
    let module =
        package.strip_prefix("shakenfist.").and_then(|rest| rest.strip_suffix(".v1")).unwrap_or(package);
    format!("crate::{module}::{}", message.name())
}
