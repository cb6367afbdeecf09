//! A tree of XML elements, read within limits and written.
//!
//! Files come from outside: their size, depth and number of elements are bounded, and there is neither a document type nor an
//! entity but the five that XML has, so that nothing is fetched and nothing grows.

use encoding_rs::GB18030;
use quick_xml::{
    Reader, Writer,
    escape::resolve_predefined_entity,
    events::{BytesDecl, BytesEnd, BytesRef, BytesStart, BytesText, Event},
};

use super::BankError;

/// The largest file that is read, in bytes.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most elements that stand in each other.
const DEPTH_MAX: usize = 24;
/// The most elements of a file.
const ELEMENTS_MAX: usize = 200_000;
/// How many bytes at the beginning are looked at for the encoding.
const DECLARATION_BYTES: usize = 200;

/// An element without its namespace: versions of a message differ in that first of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes, in order.
    pub attributes: Vec<(String, String)>,
    /// Its text, if it has no children.
    pub text: String,
    /// What stands in it.
    pub children: Vec<Element>,
}

impl Element {
    /// An element with others in it.
    pub fn of(name: &str, children: impl IntoIterator<Item = Element>) -> Element {
        Element {
            name: name.to_owned(),
            children: children.into_iter().collect(),
            ..Element::default()
        }
    }

    /// An element with a text.
    pub fn text(name: &str, text: impl ToString) -> Element {
        Element {
            name: name.to_owned(),
            text: text.to_string(),
            ..Element::default()
        }
    }

    /// The same with an attribute.
    #[must_use]
    pub fn with(mut self, attribute: &str, value: &str) -> Element {
        self.attributes.push((attribute.to_owned(), value.to_owned()));
        self
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(attribute, _)| attribute == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All children of a name.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Element> + use<'a, 'n> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The element at a path of names, each the first of its name.
    pub fn at(&self, path: &[&str]) -> Option<&Element> {
        let mut found = self;
        for name in path {
            found = found.children.iter().find(|child| child.name == *name)?;
        }
        Some(found)
    }

    /// The text at a path, without the space around it; `None` when nothing is there.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path).map(|element| element.text.trim())
    }

    /// The text at a path that must be there.
    ///
    /// # Errors
    /// [`BankError::Missing`].
    pub fn require(&self, path: &[&str]) -> Result<&str, BankError> {
        let found = self.text_at(path).filter(|text| !text.is_empty());
        found.ok_or_else(|| BankError::Missing {
            element: format!("{}/{}", self.name, path.join("/")),
        })
    }
}

/// Reads a document.
///
/// # Errors
/// What is over a limit, refused, or no XML.
pub fn read(bytes: &[u8]) -> Result<Element, BankError> {
    if bytes.len() > BYTES_MAX {
        return Err(BankError::TooLarge { max: BYTES_MAX });
    }
    let text = decoded(bytes)?;
    let mut reader = Reader::from_str(&text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut count = 0_usize;
    loop {
        let at = reader.buffer_position();
        let wrong = |what: &str| {
            let what = what.to_owned();
            BankError::Xml { at, what }
        };
        let event = reader.read_event().map_err(|error| wrong(&error.to_string()))?;
        let closed = match event {
            Event::Start(start) => {
                count += 1;
                if open.len() >= DEPTH_MAX || count > ELEMENTS_MAX {
                    return Err(wrong("too deep, or too many elements"));
                }
                if root.is_some() {
                    return Err(wrong("a second root"));
                }
                open.push(begun(&start).map_err(|what| wrong(&what))?);
                None
            }
            Event::Empty(start) => {
                count += 1;
                if count > ELEMENTS_MAX || root.is_some() {
                    return Err(wrong("too many elements"));
                }
                Some(begun(&start).map_err(|what| wrong(&what))?)
            }
            // The reader sees to it that it is the one that is open.
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                append(&mut open, &text.xml10_content()).map_err(wrong)?;
                None
            }
            Event::CData(text) => {
                append(&mut open, &text.xml10_content()).map_err(wrong)?;
                None
            }
            Event::GeneralRef(reference) => {
                append(&mut open, &resolved(&reference).map_err(wrong)?).map_err(wrong)?;
                None
            }
            Event::DocType(_) => return Err(wrong("a document type")),
            Event::PI(_) => return Err(wrong("a processing instruction")),
            Event::Decl(_) | Event::Comment(_) => None,
            Event::Eof if open.is_empty() => {
                return root.ok_or_else(|| wrong("no element"));
            }
            Event::Eof => return Err(wrong("ends too early")),
        };
        if let Some(element) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => root = Some(element),
            }
        }
    }
}

/// The text of a file in UTF-8, or in the Chinese encoding that it declares.
fn decoded(bytes: &[u8]) -> Result<String, BankError> {
    let head = bytes.get(..DECLARATION_BYTES.min(bytes.len())).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let is_chinese = ["gbk", "gb18030", "gb2312"]
        .iter()
        .any(|name| head.contains(&format!("encoding=\"{name}\"")) || head.contains(&format!("encoding='{name}'")));
    if is_chinese {
        let text = GB18030.decode_without_bom_handling_and_without_replacement(bytes);
        return text.map(Into::into).ok_or(BankError::Encoding { encoding: "GB18030" });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BankError::Encoding { encoding: "UTF-8" })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
}

fn begun(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut element = Element {
        name: start.local_name().into_inner().to_owned(),
        ..Element::default()
    };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value: &str = attribute.value.as_ref();
        if value.contains('&') {
            return Err("a reference in an attribute".to_owned());
        }
        let name = attribute.key.local_name().into_inner().to_owned();
        element.attributes.push((name, value.to_owned()));
    }
    Ok(element)
}

fn resolved(reference: &BytesRef<'_>) -> Result<String, &'static str> {
    if reference.is_char_ref() {
        let char = reference.resolve_char_ref().ok().flatten();
        return char.map(String::from).ok_or("a character that is none");
    }
    let known = resolve_predefined_entity(&reference.xml10_content());
    known.map(ToOwned::to_owned).ok_or("an entity")
}

fn append(open: &mut [Element], text: &str) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(element) => {
            element.text.push_str(text);
            Ok(())
        }
        None if text.trim().is_empty() => Ok(()),
        None => Err("text outside of the root"),
    }
}

/// Writes a document: UTF-8, indented, the same bytes each time.
///
/// # Errors
/// [`BankError::Invalid`] for a character that XML does not have.
pub fn write(root: &Element) -> Result<Vec<u8>, BankError> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let declaration = BytesDecl::new("1.0", Some("UTF-8"), None);
    // Writing into memory fails for no other reason than the writer's own.
    let failed = |error: std::io::Error| BankError::invalid(&root.name, error.to_string());
    writer.write_event(Event::Decl(declaration)).map_err(failed)?;
    put(&mut writer, root)?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn put(writer: &mut Writer<Vec<u8>>, element: &Element) -> Result<(), BankError> {
    let failed = |error: std::io::Error| BankError::invalid(&element.name, error.to_string());
    let texts = element.attributes.iter().map(|(_, value)| value).chain([&element.text]);
    if texts.flat_map(|text| text.chars()).any(|char| !is_xml(char)) {
        return Err(BankError::invalid(
            &element.name,
            "has a character that cannot be written",
        ));
    }
    let attributes = element
        .attributes
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let start = BytesStart::new(element.name.as_str()).with_attributes(attributes);
    writer.write_event(Event::Start(start)).map_err(failed)?;
    if element.children.is_empty() {
        writer
            .write_event(Event::Text(BytesText::new(&element.text)))
            .map_err(failed)?;
    }
    for child in &element.children {
        put(writer, child)?;
    }
    let end = BytesEnd::new(element.name.as_str());
    writer.write_event(Event::End(end)).map_err(failed)
}

/// Whether XML 1.0 has the character, and keeps it as it is.
fn is_xml(char: char) -> bool {
    !char.is_control() && !matches!(char, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let amount = Element::text("Amt", "1.00").with("Ccy", "CNY");
        let root = Element::of("Document", [Element::text("Nm", "华丰 & <Sons> \"x\""), amount]);
        let bytes = write(&root).unwrap();
        let mut found = read(&bytes).unwrap();
        found.text.clear();
        assert_eq!(found, root);
        assert_eq!(found.require(&["Amt"]).unwrap(), "1.00");
        assert!(write(&Element::text("Nm", "a\u{0}b")).is_err());
    }

    #[test]
    fn what_could_grow_or_fetch_is_refused() {
        let deep = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(read(deep(DEPTH_MAX).as_bytes()).is_ok());
        let long = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        for bad in [
            deep(DEPTH_MAX + 1).as_str(),
            &long,
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
            "<a>&b;</a>",
            "<a b='&lt;'/>",
            "<a>&#0;</a>",
            "<a>&#x110000;</a>",
            "<?xml-stylesheet href='a'?><a/>",
            "<a/><b/>",
            "<a></a><b></b>",
            "a<a/>",
            "<a>",
            "</a>",
            "<a></b>",
            "",
            " ",
        ] {
            assert!(
                read(bad.as_bytes()).is_err(),
                "{}",
                bad.get(..40.min(bad.len())).unwrap_or(bad)
            );
        }
        assert_eq!(
            read(&vec![b' '; BYTES_MAX + 1]),
            Err(BankError::TooLarge { max: BYTES_MAX })
        );
        assert!(read(b"<a>\xff</a>").is_err());
    }

    #[test]
    fn chinese_encodings_are_read_when_they_are_declared() {
        let (bytes, _, _) = GB18030.encode("<?xml version=\"1.0\" encoding=\"GBK\"?><Nm>华丰</Nm>");
        assert_eq!(read(&bytes).unwrap().text, "华丰");
        assert_eq!(read(b"\xef\xbb\xbf<a>&amp;&#x4e00;</a>").unwrap().text, "&一");
    }
}
