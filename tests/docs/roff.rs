//! From a small Markdown to man pages: headings, paragraphs, lists, code, tables.

use std::fmt::Write as _;

/// The widest cell that is not wrapped, in characters.
const CELL: usize = 30;
/// A table with more columns does not fit on a terminal: its rows become items.
const COLUMNS: usize = 3;

/// The first lines of a page.
pub fn head(name: &str, section: u8) -> String {
    // `'\" t` asks for the table preprocessor, which must come first.
    format!(
        "'\\\" t\n.\\\" Made by tests/docs: run `make docs`, do not edit.\n\
         .ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n\
         .TH {} {section} \"\" \"clsess {}\" \"clsess manual\"\n.nh\n.ad l\n",
        name.to_uppercase(),
        clsess_proto::VERSION
    )
}

/// The section by which whatis(1) finds the page.
pub fn name(name: &str, about: &str) -> String {
    format!(".SH NAME\n{} \\- {}\n", plain(name), plain(about))
}

/// The text of a page. A heading of the first level is dropped: it is the file's title.
pub fn body(markdown: &str) -> String {
    let lines: Vec<&str> = markdown.lines().collect();
    let mut page = String::new();
    let mut rest = lines.as_slice();
    while let Some(line) = rest.first() {
        let used = block(line, rest, &mut page);
        rest = &rest[used..];
    }
    page
}

/// Writes the block that begins with `line`; how many lines it has.
fn block(line: &str, rest: &[&str], page: &mut String) -> usize {
    let count = |wanted: fn(&str) -> bool| rest.iter().take_while(|l| wanted(l)).count();
    if line.trim().is_empty() || line.starts_with("# ") || line.starts_with("<!--") {
        return 1;
    }
    if let Some(title) = line.strip_prefix("## ") {
        let _ = writeln!(page, ".SH {}", title_of(&title.to_uppercase()));
        return 1;
    }
    if let Some(title) = line.strip_prefix("### ") {
        let _ = writeln!(page, ".SS {}", title_of(title));
        return 1;
    }
    if line.starts_with("```") {
        let inside = rest[1..].iter().take_while(|l| !l.starts_with("```"));
        let code: Vec<_> = inside.copied().collect();
        paragraph(page);
        page.push_str(".RS 4\n.nf\n");
        for line in &code {
            page.push_str(&guarded(&literal(line)));
            page.push('\n');
        }
        page.push_str(".fi\n.RE\n");
        return code.len() + 2;
    }
    if line.starts_with('|') {
        let rows = count(|l| l.starts_with('|'));
        table(&rest[..rows], page);
        return rows;
    }
    if line.starts_with("- ") || numbered(line).is_some() {
        return list(rest, page);
    }
    let lines = count(|l| !l.trim().is_empty() && !begins_block(l));
    paragraph(page);
    page.push_str(&guarded(&inline(&rest[..lines.max(1)].join(" "))));
    page.push('\n');
    lines.max(1)
}

/// A distance to what is above, where a heading has not made it.
fn paragraph(page: &mut String) {
    let last = page.lines().last().unwrap_or_default();
    if !last.starts_with(".SH") && !last.starts_with(".SS") {
        page.push_str(".PP\n");
    }
}

fn begins_block(line: &str) -> bool {
    line.starts_with("```")
        || line.starts_with('|')
        || line.starts_with("- ")
        || line.starts_with('#')
        || numbered(line).is_some()
}

/// The number before an item, and the item.
fn numbered(line: &str) -> Option<(&str, &str)> {
    let (number, item) = line.split_once(". ")?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    digits.then_some((number, item))
}

/// A list: items and their lines that are indented.
fn list(rest: &[&str], page: &mut String) -> usize {
    let mut used = 0;
    while let Some(line) = rest.get(used) {
        let (mark, first) = match (line.strip_prefix("- "), numbered(line)) {
            (Some(item), _) => ("\\(bu".to_owned(), item),
            (None, Some((number, item))) => (format!("{number}."), item),
            (None, None) => break,
        };
        let more = rest[used + 1..].iter().take_while(|l| l.starts_with("  "));
        let item: Vec<&str> = std::iter::once(first)
            .chain(more.map(|l| l.trim()))
            .collect();
        let indent = if mark.starts_with('\\') { 2 } else { 4 };
        let _ = writeln!(
            page,
            ".IP {mark} {indent}\n{}",
            guarded(&inline(&item.join(" ")))
        );
        used += item.len();
    }
    used
}

/// A table; its second row is the line below the heads.
fn table(rows: &[&str], page: &mut String) {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 1)
        .map(|(_, row)| cells(row))
        .collect();
    let columns = rows.first().map_or(0, Vec::len);
    if columns > COLUMNS {
        return items(&rows, page);
    }
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let longest_word = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let words = cells.flat_map(|cell| cell.split(' '));
        words.map(|word| word.chars().count()).max().unwrap_or(0)
    };
    let limit = |column: usize| CELL.max(longest_word(column));
    let form: Vec<String> = (0..columns)
        .map(|column| match column + 1 == columns {
            true => "lx".to_owned(),
            false if widest(column) > limit(column) => format!("lw({}n)", limit(column)),
            false => "l".to_owned(),
        })
        .collect();
    let heads: Vec<String> = form.iter().map(|f| f.replacen('l', "lb", 1)).collect();
    paragraph(page);
    let _ = writeln!(page, ".TS\n{}\n{}.", heads.join(" "), form.join(" "));
    for row in &rows {
        let made: Vec<String> = (0..columns)
            .map(|column| {
                let text = row.get(column).map(String::as_str).unwrap_or_default();
                if column + 1 == columns || widest(column) > limit(column) {
                    format!("T{{\n{}\nT}}", guarded(&inline(text)))
                } else {
                    format!("\\&{}", inline(text))
                }
            })
            .collect();
        page.push_str(&made.join("\t"));
        page.push('\n');
    }
    page.push_str(".TE\n");
}

/// A wide table as items: the first cell, the ones between with their heads, the last one.
fn items(rows: &[Vec<String>], page: &mut String) {
    let Some((heads, rows)) = rows.split_first() else {
        return;
    };
    for row in rows {
        let mut between = Vec::new();
        for (head, cell) in heads.iter().zip(row).skip(1).take(heads.len() - 2) {
            match head.as_str() {
                _ if cell.is_empty() => {}
                "type" => between.push(inline(cell)),
                head => between.push(format!("{}: {}", plain(head), inline(cell))),
            }
        }
        let first = row.first().map(String::as_str).unwrap_or_default();
        let last = row.last().map(String::as_str).unwrap_or_default();
        let _ = writeln!(
            page,
            ".TP\n{} ({})\n{}",
            guarded(&inline(first)),
            between.join("; "),
            guarded(&inline(last))
        );
    }
}

/// The cells of a row; `\|` is a bar within one.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|');
    let row = row.strip_suffix('|').unwrap_or(row);
    row.replace("\\|", "\u{1}")
        .split('|')
        .map(|cell| cell.trim().replace('\u{1}', "|"))
        .collect()
}

/// Running text: `code` and **strong** are bold, *words* are italic, links are their text.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        out.push_str(&plain(&rest[..at]));
        rest = &rest[at..];
        let span = span(rest, "`", literal, 'B')
            .or_else(|| span(rest, "**", plain, 'B'))
            .or_else(|| span(rest, "*", plain, 'I'));
        let (made, used) = span.or_else(|| link(rest)).unwrap_or_else(|| {
            let first = &rest[..1];
            (plain(first), 1)
        });
        out.push_str(&made);
        rest = &rest[used..];
    }
    out + &plain(rest)
}

/// The words between two marks, in another font; how many bytes that was.
fn span(rest: &str, mark: &str, words: fn(&str) -> String, font: char) -> Option<(String, usize)> {
    let inside = rest.strip_prefix(mark)?;
    let end = inside.find(mark).filter(|end| *end > 0)?;
    let made = format!("\\f{font}{}\\fR", words(&inside[..end]));
    Some((made, end + 2 * mark.len()))
}

/// `[text](target)`: the text, and the target where it is an address.
fn link(rest: &str) -> Option<(String, usize)> {
    let (text, more) = rest.strip_prefix('[')?.split_once("](")?;
    let (target, _) = more.split_once(')')?;
    let used = text.len() + target.len() + 4;
    let shown = match target.contains("://") {
        true => format!("{} <{}>", plain(text), literal(target)),
        false => plain(text),
    };
    Some((shown, used))
}

/// A title stands in quotes, so that its blanks are kept.
fn title_of(text: &str) -> String {
    format!(
        "\"{}\"",
        plain(&text.replace('`', "")).replace('"', "\\(dq")
    )
}

fn plain(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('\'', "\\(aq")
        .replace('-', "\\-")
}

/// Code: nothing of it may become a typographic character.
fn literal(text: &str) -> String {
    plain(text)
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

/// A line of text must not begin like a request.
fn guarded(line: &str) -> String {
    if line.starts_with('.') || line.starts_with('\'') || line.is_empty() {
        format!("\\&{line}")
    } else {
        line.to_owned()
    }
}

#[test]
fn markdown_becomes_roff() {
    let page =
        body("# T\n\n## A b\n\nx `--y`\n**z** it's [a](b.md)\n\n- i\n  j\n- k\n\n```\n.q\n```\n");
    assert_eq!(
        page,
        ".SH \"A B\"\nx \\fB\\-\\-y\\fR \\fBz\\fR it\\(aqs a\n.IP \\(bu 2\ni j\n.IP \\(bu 2\nk\n\
         .PP\n.RS 4\n.nf\n\\&.q\n.fi\n.RE\n"
    );
    let page = body("| a | b |\n|---|---|\n| `x\\|y` | long |\n");
    assert_eq!(
        page,
        ".PP\n.TS\nlb lbx\nl lx.\n\\&a\tT{\nb\nT}\n\\&\\fBx|y\\fR\tT{\nlong\nT}\n.TE\n"
    );
}
