//! The table of what would be lost, for people: at most 80 columns wide where names allow it.
//!
//! What to type to save something stands on a line of its own below it, whole, so that it can be
//! copied.

use std::fmt::Write as _;

use super::Finding;

const WIDTH: usize = 80;
/// No column is narrower for the last one's sake.
const LEAST: usize = 24;
const HEAD: [&str; 3] = ["WORKSPACE", "WHAT", "WHICH, AND HOW TO SAVE IT"];

/// One line of the table: the workspace, and what it holds. What a workspace holds stands together.
pub type Row<'a> = (&'a str, &'a Finding);

/// The lines of the table, each ended.
#[must_use]
pub fn render(rows: &[Row<'_>]) -> String {
    let widest = |cells: &mut dyn Iterator<Item = &str>| {
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let first = widest(&mut rows.iter().map(|row| row.0).chain([HEAD[0]])) + 2;
    let second = widest(&mut rows.iter().map(|row| row.1.what).chain([HEAD[1]])) + 2;
    let room = WIDTH.saturating_sub(first + second).max(LEAST);
    let mut text = format!("{:first$}{:second$}{}\n", HEAD[0], HEAD[1], HEAD[2]);
    let mut above = "";
    for (at, (workspace, finding)) in rows.iter().enumerate() {
        let name = if *workspace == above { "" } else { workspace };
        above = workspace;
        let lines = filled(&finding.which, room);
        writeln!(text, "{name:first$}{:second$}{}", finding.what, lines[0]).ok();
        for line in &lines[1..] {
            writeln!(text, "{:1$}{line}", "", first + second).ok();
        }
        // One command may save several things.
        let next = rows.get(at + 1);
        if next.is_none_or(|next| next.0 != *workspace || next.1.save != finding.save) {
            writeln!(text, "    {}", finding.save).ok();
        }
    }
    text
}

/// Pieces in lines of at most `room` columns, where they fit.
fn filled(pieces: &[String], room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in pieces {
        let last = lines.last_mut().expect("there is a first line");
        if last.is_empty() {
            last.push_str(piece);
        } else if last.chars().count() + 1 + piece.chars().count() <= room {
            last.push(' ');
            last.push_str(piece);
        } else {
            lines.push(piece.clone());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_stands_below_all_that_it_saves() {
        let finding = |what, which: &str, save: &str| Finding {
            what,
            which: which.split_inclusive(' ').map(|word| word.trim_end().to_owned()).collect(),
            save: save.to_owned(),
        };
        let (changed, untracked, stash) = (
            finding("changed", "1 file: a.txt", "git commit"),
            finding("untracked", &"a-long-name-of-a-file ".repeat(4), "git commit"),
            finding("stash", "1 stash: WIP", "git branch"),
        );
        let rows = [("app-x", &changed), ("app-x", &untracked), ("app-y", &stash)];
        assert_eq!(
            render(&rows),
            "\
WORKSPACE  WHAT       WHICH, AND HOW TO SAVE IT
app-x      changed    1 file: a.txt
           untracked  a-long-name-of-a-file a-long-name-of-a-file
                      a-long-name-of-a-file a-long-name-of-a-file
    git commit
app-y      stash      1 stash: WIP
    git branch
"
        );
    }
}
