//! The manifest of an export: the heads that an auditor keeps elsewhere. Written and read a head at a time, so
//! that neither takes memory for all of them.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context;
use regrant::domain::chain::Head;
use regrant::domain::target::Guid;
use regrant::verify::Kept;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The form of the file; another one is refused.
const FORM: &str = "regrant/1";

/// Heads read ahead of their comparison.
const READ_AHEAD: usize = 256;

#[derive(Serialize, Deserialize)]
struct Line {
    pk: String,
    seq: u64,
    hash: String,
}

/// A manifest being written beside its final name, which it gets when it is whole.
pub struct Writer {
    file: Whole,
    heads: u64,
}

impl Writer {
    pub fn create(path: &Path, head: &serde_json::Value) -> anyhow::Result<Self> {
        let mut file = Whole::create(path)?;
        let head = head.to_string();
        let fields = head.strip_suffix('}').context("the head of a manifest is an object")?;
        let separator = if fields == "{" { "" } else { "," };
        write!(file.writer, "{fields}{separator}\"manifest\":\"{FORM}\",\"heads\":[")?;
        Ok(Self { file, heads: 0 })
    }

    pub fn add(&mut self, pk: &str, head: Head) -> anyhow::Result<()> {
        let line = Line { pk: pk.to_owned(), seq: head.seq, hash: head.hash };
        let separator = if self.heads == 0 { "\n" } else { ",\n" };
        self.heads += 1;
        write!(self.file.writer, "{separator}{}", serde_json::to_string(&line)?)
            .context("cannot write the manifest")
    }

    pub fn finish(mut self, rows: u64, sha256: &str) -> anyhow::Result<()> {
        write!(
            self.file.writer,
            "\n],\"chains\":{},\"rows\":{rows},\"sha256\":\"{sha256}\"}}\n",
            self.heads
        )?;
        self.file.finish()
    }
}

/// A file that has its name only once it is whole: a crash leaves nothing that looks finished.
pub struct Whole {
    pub writer: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
}

impl Whole {
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self { writer: BufWriter::new(file), partial, path: path.to_owned() })
    }

    pub fn finish(mut self) -> anyhow::Result<()> {
        let done = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        done.and_then(|()| std::fs::rename(&self.partial, &self.path))
            .with_context(|| format!("cannot write `{}`", self.path.display()))
    }
}

/// The heads of a manifest of this tenant, as they are read. An error ends them: also a file that is not whole.
pub fn heads(
    path: &Path,
    tenant: &Guid,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Kept>> + use<>> {
    let file = File::open(path).with_context(|| format!("cannot read the manifest `{}`", path.display()))?;
    let (sender, receiver): (_, Receiver<anyhow::Result<Kept>>) = sync_channel(READ_AHEAD);
    let (path, tenant) = (path.to_owned(), tenant.clone());
    std::thread::spawn(move || {
        let mut json = serde_json::Deserializer::from_reader(BufReader::new(file));
        let read = Manifest { tenant: &tenant, heads: &sender }.deserialize(&mut json);
        if let Err(error) = read.and_then(|()| json.end()) {
            let error = anyhow::Error::new(error);
            // Nobody listens any more only if the comparison has failed already.
            let _ = sender.send(Err(error.context(format!("`{}` is not a usable manifest", path.display()))));
        }
    });
    Ok(receiver.into_iter())
}

struct Manifest<'a> {
    tenant: &'a Guid,
    heads: &'a SyncSender<anyhow::Result<Kept>>,
}

impl<'de> DeserializeSeed<'de> for Manifest<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Manifest<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut form, mut tenant, mut heads, mut chains) = (None, None, None, None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "manifest" => form = Some(map.next_value::<String>()?),
                "tenantId" => tenant = Some(map.next_value::<String>()?),
                "chains" => chains = Some(map.next_value::<u64>()?),
                "heads" => heads = Some(map.next_value_seed(Heads(self.heads))?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if form.as_deref() != Some(FORM) {
            return Err(A::Error::custom(format_args!("its `manifest` is not \"{FORM}\"")));
        }
        if tenant.as_deref() != Some(self.tenant.as_str()) {
            return Err(A::Error::custom(format_args!("it is not of tenant {}", self.tenant)));
        }
        if heads.is_none() || heads != chains {
            return Err(A::Error::custom("its `heads` are not as many as its `chains` says"));
        }
        Ok(())
    }
}

struct Heads<'a>(&'a SyncSender<anyhow::Result<Kept>>);

impl<'de> DeserializeSeed<'de> for Heads<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Heads<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of heads: `pk`, `seq` and `hash`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while let Some(Line { pk, seq, hash }) = lines.next_element()? {
            count += 1;
            let kept = Kept { key: pk, head: Head { seq, hash } };
            self.0.send(Ok(kept)).map_err(|_| A::Error::custom("nobody compares the heads any more"))?;
        }
        Ok(count)
    }
}
