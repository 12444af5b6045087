//! `auditferry map`: records in, encoded lines out; the way to see what a codec makes of a record.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
};

use auditferry_contract::EventId;
use clap::Args;
use jiff::Timestamp;

use super::split::{Piece, split};
use crate::{
    codec::{self, Codec, CodecOptions},
    event::{self, Context, identity},
};

/// Records without `Id` are counted per content, so that equal ones differ; beyond this many they are not remembered.
const REMEMBERED: usize = 1 << 20;

/// Arguments of `auditferry map`.
#[derive(Args, Clone, Debug)]
pub struct Map {
    /// What to write: ocsf, cef, raw
    #[arg(long, value_name = "CODEC", default_value = "ocsf", value_parser = clap::builder::PossibleValuesParser::new(codec::NAMES))]
    pub codec: String,
    /// Leave the original record out of the event (ocsf: no raw_data)
    #[arg(long)]
    pub no_raw_data: bool,
    /// Tenant GUID that goes into the event's id [default: each record's OrganizationId]
    #[arg(long, value_name = "GUID")]
    pub tenant: Option<String>,
    /// JSON lines or JSON arrays of records; - reads standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
}

/// Maps a file to standard output; what can't be mapped is said on standard error. 1 when there was any.
pub fn run(args: &Map) -> ExitCode {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut say = io::stderr().lock();
    let mapped = if args.file.as_os_str() == "-" {
        map(args, &mut io::stdin().lock(), &mut out, &mut say)
    } else {
        match File::open(&args.file) {
            Ok(file) => map(args, &mut BufReader::with_capacity(1 << 16, file), &mut out, &mut say),
            Err(e) => Err(e),
        }
    };
    match mapped {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        // whoever read our output has enough of it (`| head`)
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(e) => {
            let _ = writeln!(say, "auditferry: map: {}: {e}", args.file.display());
            ExitCode::FAILURE
        }
    }
}

/// Maps every record of `input` to one line of `out`, in order; says on `say` what could not be read, with its line
/// number, and goes on. Gives the number of those.
///
/// # Errors
/// Those of reading and writing.
pub fn map(args: &Map, input: &mut dyn BufRead, out: &mut dyn Write, say: &mut dyn Write) -> io::Result<u64> {
    let options = CodecOptions { raw_data: !args.no_raw_data };
    let Some(codec) = codec::by_name(&args.codec, options) else {
        let known = codec::NAMES.join(", ");
        return Err(io::Error::other(format!("no codec is named {:?}; this build has {known}", args.codec)));
    };
    let mut bad = 0;
    let mut alike = BTreeMap::new();
    let mut line_out = Vec::new();
    split(input, &mut |line, piece| {
        line_out.clear();
        let mapped = match piece {
            Piece::Record(record) => one(args, record, &*codec, &mut alike, &mut line_out),
            Piece::Bad(why) => Err(why.to_owned()),
        };
        match mapped {
            Ok(()) => {
                line_out.push(b'\n');
                out.write_all(&line_out)
            }
            Err(why) => {
                bad += 1;
                writeln!(say, "line {line}: {why}")
            }
        }
    })?;
    out.flush()?;
    Ok(bad)
}

/// Encodes one record. A panic inside it stays inside it.
fn one(
    args: &Map,
    record: &[u8],
    codec: &dyn Codec,
    alike: &mut BTreeMap<EventId, u32>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let tenant = match &args.tenant {
            Some(tenant) => tenant.clone(),
            None => event::organization(record).unwrap_or_default(),
        };
        let identify = |nth| identity::identify(record, &tenant, "map", nth).map_err(|e| e.to_string());
        let mut name = identify(0)?;
        if !name.deduplicable && (alike.len() < REMEMBERED || alike.contains_key(&name.id)) {
            let before = alike.entry(name.id).or_insert(0);
            let nth = *before;
            *before = nth.saturating_add(1);
            name = identify(nth)?;
        }
        let context = Context {
            tenant: &tenant,
            content_type: "Audit.General",
            content_id: "map",
            content_created: Timestamp::UNIX_EPOCH,
            fetched: None,
            id: name.id,
        };
        let event = event::read(record, &context).map_err(|e| e.to_string())?;
        codec.encode(&event, out);
        Ok(())
    }));
    tried.unwrap_or_else(|_| Err("mapping panicked on this record: please report it with the record".to_owned()))
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
