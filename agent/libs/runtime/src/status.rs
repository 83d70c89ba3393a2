//! The one line that says what a daemon is doing, for `systemctl status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::notify;

/// Status of one daemon. Several daemons of one process share a board, and the service manager is shown all of them.
#[derive(Debug, Clone)]
pub struct StatusLine {
    daemon: String,
    board: Arc<Mutex<BTreeMap<String, String>>>,
}

impl StatusLine {
    /// A board with one daemon.
    pub fn new(daemon: impl Into<String>) -> Self {
        Self { daemon: daemon.into(), board: Arc::default() }
    }

    /// The line of another daemon of the same process.
    pub fn for_daemon(&self, daemon: impl Into<String>) -> Self {
        Self { daemon: daemon.into(), board: self.board.clone() }
    }

    /// Replaces this daemon's line; an unchanged one is not sent again.
    pub fn set(&self, text: impl Into<String>) {
        let text = text.into().replace('\n', " ");
        let mut board = self.board.lock();
        if board.get(&self.daemon) == Some(&text) {
            return;
        }
        tracing::debug!(daemon = %self.daemon, status = %text, "status");
        board.insert(self.daemon.clone(), text);
        notify::status(&render(&board));
    }

    /// Every line of the board as the service manager sees it.
    pub fn text(&self) -> String {
        render(&self.board.lock())
    }
}

fn render(board: &BTreeMap<String, String>) -> String {
    match board.len() {
        1 => board.values().cloned().collect(),
        _ => board.iter().map(|(daemon, text)| format!("{daemon}: {text}")).collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_speaks_for_itself_and_several_are_named() {
        let api = StatusLine::new("sf-api");
        api.set("serving");
        assert_eq!(api.text(), "serving");
        api.for_daemon("sf-net").set("waiting\nfor sf-database");
        assert_eq!(api.text(), "sf-api: serving; sf-net: waiting for sf-database");
    }
}
