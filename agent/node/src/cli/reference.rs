//! The reference page of the command line, from what the parser knows of it.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::{Control, Node};

const HEAD: &str = "# Command line\n\n\
<!-- Generated from the parser: scripts/lint/collection cli --write -->\n\n\
One binary, two names. `sf-node sf-ctl …` is the same as `sf-ctl …`. What the role depends on, with every field of the answers:\n\
[the contract between the role and the agent](role-contract.md). Exit codes: [here](exit-codes.md).\n";
/// Options that stand in the reference of the configuration.
const ELSEWHERE: &str = "Configuration keys";

/// The page.
pub(crate) fn page() -> String {
    let programs = [built(Control::command()), built(Node::command())];
    let mut text = HEAD.to_owned();
    text.push_str("\n## Options of every command\n\n");
    text.push_str(&table(
        programs.iter().take(1).flat_map(Command::get_arguments).filter(|arg| arg.is_global_set()),
    ));
    for program in &programs {
        let mut commands = Vec::new();
        collect(program, "", &mut commands);
        let name = program.get_name();
        text.push_str(&format!("\n## {name}\n\n{}\n\n", about(program)));
        let mut own = program.get_arguments().filter(|arg| is_own(arg)).peekable();
        if own.peek().is_some() {
            text.push_str(&format!("{}\n", table(own)));
        }
        text.push_str("| Command | |\n|---|---|\n");
        for (path, command) in &commands {
            text.push_str(&format!("| [`{path}`](#{}) | {} |\n", path.replace(' ', "-"), about(command)));
        }
        commands.iter().for_each(|(path, command)| text.push_str(&section(path, command)));
    }
    text
}

/// A program with all that the parser adds by itself, but for the help that every command has.
fn built(program: Command) -> Command {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    program
}

/// Every command that does something by itself, with the words that lead to it.
fn collect<'a>(command: &'a Command, above: &str, found: &mut Vec<(String, &'a Command)>) {
    let path = format!("{above} {}", command.get_name()).trim_start().to_owned();
    let mut below = command.get_subcommands().filter(|below| !below.is_hide_set()).peekable();
    if below.peek().is_none() {
        found.push((path, command));
        return;
    }
    // The other program has a part of its own.
    below.filter(|below| below.get_name() != "sf-ctl").for_each(|below| collect(below, &path, found));
}

fn section(path: &str, command: &Command) -> String {
    let usage = command.clone().bin_name(path).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let mut text = format!("\n### {path}\n\n{}\n\n```\n{usage}\n```\n", about(command));
    let keys = command.get_arguments().any(is_elsewhere);
    let mut own = command.get_arguments().filter(|arg| is_own(arg)).peekable();
    if own.peek().is_some() {
        text.push('\n');
        text.push_str(&table(own));
    }
    if keys {
        text.push_str(
            "\nEvery key of the node's [configuration](configuration.md) is an option, too, with hyphens.\n",
        );
    }
    text
}

/// Whether a command's own table shows an argument.
fn is_own(arg: &Arg) -> bool {
    !arg.is_hide_set() && !arg.is_global_set() && !is_elsewhere(arg) && arg.get_id() != "help"
}

fn is_elsewhere(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(ELSEWHERE)
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows = arguments.map(|arg| format!("| {} | {} | {} |\n", spelling(arg), default(arg), meaning(arg)));
    format!("| Option | Default | Meaning |\n|---|---|---|\n{}", rows.collect::<String>())
}

/// `-v, --verbose`, `--timeout <TIMEOUT>`, `[NODE]`.
fn spelling(arg: &Arg) -> String {
    if arg.is_positional() {
        return format!("`{arg}`");
    }
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    format!("{short}`{}`", arg.to_string().trim())
}

fn default(arg: &Arg) -> String {
    if !arg.get_action().takes_values() {
        return String::new();
    }
    if arg.is_required_set() {
        return "required".to_owned();
    }
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if values.is_empty() { String::new() } else { format!("`{}`", values.join(",")) }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = cell(&help);
    if arg.get_action().takes_values() {
        let values: Vec<String> =
            arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        if !values.is_empty() {
            let _ = write!(text, " One of {}.", values.join(", "));
        }
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    text
}

fn about(command: &Command) -> String {
    cell(&command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default())
}

/// One line of a table, ending in a full stop.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    if line.is_empty() || line.ends_with('.') { line } else { format!("{line}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_explained() {
        let page = page();
        for heading in ["## sf-ctl\n", "### sf-ctl node drain\n", "## sf-node\n", "### sf-node run\n"] {
            assert!(page.contains(heading), "{heading}");
        }
        assert!(
            !page.contains("with-parent") && !page.contains("libvirt-space"),
            "what is hidden is not for operators"
        );
        let bare: Vec<&str> =
            page.lines().filter(|line| line.starts_with('|') && line.ends_with("|  |")).collect();
        assert!(bare.is_empty(), "without a word of explanation: {bare:#?}");
    }
}
