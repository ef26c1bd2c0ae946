//! Links in the documents lead somewhere: to a file that is there, and to a heading that is in it.

use std::path::{Path, PathBuf};

use crate::source::numbered;

/// The documents of the repository.
pub(crate) fn documents(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules"
            {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The links of a document that lead nowhere: a line and what is wrong.
pub(crate) fn findings(document: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(document).unwrap();
    let mut findings = Vec::new();
    for (line, link) in links(&text) {
        if ["http://", "https://", "mailto:"].iter().any(|far| link.starts_with(far)) {
            continue;
        }
        let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
        let target = match path {
            "" => document.to_owned(),
            path => document.parent().unwrap().join(path),
        };
        if !target.exists() {
            findings.push((line, format!("`{link}` leads to no file")));
        } else if !heading.is_empty() && !headings(&target).iter().any(|known| known == heading) {
            findings.push((line, format!("`{link}` leads to no heading of that file")));
        }
    }
    findings
}

/// Where the links of a text lead, by line: `[..](..)` and `src="..."`, but for code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut is_code = false;
    for (line, words) in numbered(text) {
        if words.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        // Every second part is between backticks.
        let prose: String = words.split('`').step_by(2).collect();
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
            let found = prose.split(open).skip(1).filter_map(|rest| rest.split(close).next());
            links.extend(found.map(|link| (line, link.to_owned())));
        }
    }
    links
}

/// The anchors of a document's headings, as code hosts make them.
fn headings(document: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(document).unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().replace(' ', "-")
    };
    lines.map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_but_not_in_code() {
        let text = "[a](b.md#c) and [d](e)\n```\n[no](x)\n```\n`[no](y)` <img src=\"i.png\">\n";
        let found: Vec<_> = links(text).into_iter().collect();
        let expected = [(1, "b.md#c"), (1, "e"), (5, "i.png")];
        assert_eq!(found, expected.map(|(line, link)| (line, link.to_owned())));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_a_finding() {
        let folder = std::env::temp_dir().join(format!("links-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (one, two) = (folder.join("one.md"), folder.join("two.md"));
        std::fs::write(&two, "# A `heading`, with: marks\n").unwrap();
        let good = "[a](two.md) [b](two.md#a-heading-with-marks) [c](https://example.org)\n";
        let text = format!("{good}[d](three.md)\n[e](two.md#other)\n");
        std::fs::write(&one, text).unwrap();
        let lines: Vec<_> = findings(&one).into_iter().map(|(line, _)| line).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(lines, [2, 3]);
    }
}
