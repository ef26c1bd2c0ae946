//! A source file as the rules see it: its code apart from its comments and from its tests.

/// One Rust file.
pub(crate) struct Source {
    pub(crate) package: String,
    /// From the root of the workspace, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with blanks for comments and for what stands in quotes.
    pub(crate) code: String,
    /// The text with blanks for all but comments.
    pub(crate) comments: String,
    /// How many lines there are before the first of the tests.
    pub(crate) lines_before_tests: usize,
}

impl Source {
    pub(crate) fn new(package: &str, path: &str, text: String) -> Source {
        let (code, comments) = layers(&text);
        let mut source = Source {
            package: package.to_owned(),
            path: path.to_owned(),
            lines_before_tests: lines_before_tests(&text),
            text,
            code,
            comments,
        };
        if source.is_tests() {
            source.lines_before_tests = 0;
        }
        source
    }

    /// Whether all of it is tests.
    pub(crate) fn is_tests(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The lines of code that are not tests, with their numbers.
    pub(crate) fn code_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code).take(self.lines_before_tests)
    }

    /// The names of the tests in it.
    pub(crate) fn test_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut is_test = false;
        for line in self.code.lines().map(str::trim) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let name = words(line).skip_while(|word| *word != "fn").nth(1);
            if let (true, Some(name)) = (is_test, name) {
                names.push(name.to_owned());
                is_test = false;
            }
        }
        names
    }
}

/// The lines of a text with their numbers, from 1 on.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

/// The identifiers and keywords of a piece of code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ");
    lines.windows(2).position(is_start).unwrap_or(lines.len())
}

/// What a character belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Layer {
    Code,
    Comment,
    Quoted,
}

/// The text once with blanks for all that is not code, once for all that is not comment.
fn layers(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (layer, end) = token(&chars, at);
        for &c in &chars[at..end] {
            let shown = |wanted| if layer == wanted || c == '\n' { c } else { ' ' };
            code.push(shown(Layer::Code));
            comments.push(shown(Layer::Comment));
        }
        at = end;
    }
    (code, comments)
}

/// What begins at `at`, and where it ends.
fn token(chars: &[char], at: usize) -> (Layer, usize) {
    let starts = |what: &str| what.chars().eq(chars[at..].iter().copied().take(what.len()));
    if starts("//") {
        let end = chars[at..].iter().position(|c| *c == '\n');
        return (Layer::Comment, end.map_or(chars.len(), |end| at + end));
    }
    if starts("/*") {
        return (Layer::Comment, end_of_block(chars, at));
    }
    if chars[at] == '"' {
        return (Layer::Quoted, end_of_string(chars, at + 1));
    }
    if chars[at] == '\'' {
        return match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('\\'), _) => {
                let end = chars[at + 3..].iter().position(|c| *c == '\'');
                (Layer::Quoted, end.map_or(chars.len(), |end| at + 3 + end + 1))
            }
            (Some(_), Some('\'')) => (Layer::Quoted, at + 3),
            // A lifetime.
            _ => (Layer::Code, at + 1),
        };
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if !is_word(chars[at]) {
        return (Layer::Code, at + 1);
    }
    let end = chars[at..].iter().position(|c| !is_word(*c)).map_or(chars.len(), |end| at + end);
    let word: String = chars[at..end].iter().collect();
    if matches!(word.as_str(), "r" | "br" | "cr") {
        let hashes = chars[end..].iter().take_while(|c| **c == '#').count();
        if chars.get(end + hashes) == Some(&'"') {
            return (Layer::Quoted, end_of_raw_string(chars, end + hashes + 1, hashes));
        }
    }
    (Layer::Code, end)
}

fn end_of_block(chars: &[char], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_raw_string(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let closing = chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count();
        if chars[at] == '"' && closing == hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_comments_and_from_what_is_quoted() {
        let text =
            "a(\"b // \\\" c\", 'd', '\\'', r#\"e\"f\"#); // g\n/* h /* i */ j */ k<'l>(m)\n";
        let (code, comments) = layers(text);
        assert_eq!(words(&code).collect::<Vec<_>>(), ["a", "k", "l", "m"]);
        assert_eq!(words(&comments).collect::<Vec<_>>(), ["g", "h", "i", "j"]);
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn the_part_after_cfg_test_is_tests() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        let source = Source::new("p", "p/src/a.rs", text.to_owned());
        assert_eq!(source.lines_before_tests, 2);
        assert!(!source.is_tests());
        let source = Source::new("p", "p/src/a/tests.rs", text.to_owned());
        assert!(source.is_tests() && source.lines_before_tests == 0);
    }

    #[test]
    fn only_tests_count_as_tests() {
        let text = "fn not_one() {}\n/// #[test]\nfn nor_this() {}\n#[test]\nfn one() {}\n\
                    #[tokio::test(start_paused = true)]\n#[should_panic]\nasync fn two() {}\n";
        let source = Source::new("p", "p/tests/a.rs", text.to_owned());
        assert_eq!(source.test_names(), ["one", "two"]);
    }
}
