//! A CGI/1.1 request (RFC 3875) and its reply.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::decode::Kind;
use crate::images;
use crate::limits::Limits;
use crate::params::Params;
use crate::refusal::{Refusal, quoted};
use crate::reply::Reply;
use crate::work::{self, Outcome, Source};

/// Looks a meta-variable up: the process's environment, or a test's.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// The server's variable with the folder that `image=` names files of.
pub const IMAGES: &str = "CGI_ROTATE_IMAGES";

/// Whether a web server (or a shell that plays one) started this process. Its arguments are then
/// no options: a server may pass words of the query as arguments (RFC 3875, section 4.4).
#[must_use]
pub fn is_request(get: &Environment, has_arguments: bool) -> bool {
    let served = get("GATEWAY_INTERFACE").is_some() || get("REQUEST_METHOD").is_some();
    served || (!has_arguments && get("QUERY_STRING").is_some())
}

/// Serves one request, whose body is read from `body`; a refusal is a reply as well.
pub fn respond(get: &Environment, body: &mut dyn Read) -> Reply {
    let method = text(get, "REQUEST_METHOD");
    let mut body = body.take(announced(get));
    let result = serve(get, &method, &mut body);
    // mod_cgid talks over one socket: to exit with unread bytes in it would reset the connection
    // and lose the reply. A client that goes away meanwhile is found out when replying.
    let _ = io::copy(&mut body, &mut io::sink());
    Reply::new(result, method != "HEAD")
}

/// How many bytes the body has; chunked ones end with the input, as the server then promises.
fn announced(get: &Environment) -> u64 {
    let chunked = get("HTTP_TRANSFER_ENCODING").is_some();
    text(get, "CONTENT_LENGTH").parse().unwrap_or(if chunked { u64::MAX } else { 0 })
}

fn serve(get: &Environment, method: &str, body: &mut dyn Read) -> Result<Outcome, Refusal> {
    let posted = match method {
        "" | "GET" | "HEAD" => false,
        "POST" => true,
        other => return Err(Refusal::Method(quoted(other))),
    };
    let limits = Limits::from_env(get)?;
    let query = get("QUERY_STRING").unwrap_or_default();
    let params = Params::from_query(query.as_bytes())?;
    let source = match &params.image {
        Some(_) if posted => {
            let text = "image names a file, but the request's body is the image: leave one out";
            return Err(Refusal::BadRequest(text.into()));
        }
        Some(name) => Source::File(file(get, name, &limits)?),
        None if posted => Source::File(posted_image(get, body, &limits)?),
        None => Source::Pattern,
    };
    work::run(&params, source, &limits)
}

fn file(get: &Environment, name: &str, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    match get(IMAGES).filter(|folder| !folder.is_empty()) {
        Some(folder) => images::below(Path::new(&folder), name, limits),
        None => Err(Refusal::BadRequest(format!(
            "image is {}; this server offers no files, only image=test",
            quoted(name)
        ))),
    }
}

fn posted_image(
    get: &Environment,
    body: &mut dyn Read,
    limits: &Limits,
) -> Result<Vec<u8>, Refusal> {
    let declared = declared_kind(&text(get, "CONTENT_TYPE"))?;
    let length = text(get, "CONTENT_LENGTH");
    let length = match length.parse::<u64>() {
        Ok(0) => return Err(Refusal::BadRequest("the body is empty; it must be an image".into())),
        Ok(length) => length,
        Err(e) => {
            return Err(Refusal::BadRequest(format!(
                "Content-Length is {}; it must be the body's number of bytes: {e}",
                quoted(&length)
            )));
        }
    };
    let bytes = images::read(body, length, limits)?;
    match (declared, Kind::of(&bytes)) {
        (Some(declared), Some(found)) if declared != found => Err(Refusal::Unsupported(format!(
            "the body is called {} but begins like a {} file",
            quoted(&text(get, "CONTENT_TYPE")),
            format!("{found:?}").to_uppercase()
        ))),
        _ => Ok(bytes),
    }
}

/// The format that a Content-Type promises; `None` where it promises nothing.
fn declared_kind(content_type: &str) -> Result<Option<Kind>, Refusal> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "" | "application/octet-stream" => Ok(None),
        "image/png" => Ok(Some(Kind::Png)),
        "image/jpeg" | "image/jpg" => Ok(Some(Kind::Jpeg)),
        "image/x-portable-pixmap"
        | "image/x-portable-graymap"
        | "image/x-portable-bitmap"
        | "image/x-portable-anymap"
        | "image/x-portable-arbitrarymap" => Ok(Some(Kind::Pnm)),
        _ => Err(Refusal::Unsupported(format!(
            "Content-Type is {}; it must be image/png, image/jpeg, image/x-portable-pixmap or \
             application/octet-stream",
            quoted(content_type)
        ))),
    }
}

fn text(get: &Environment, name: &str) -> String {
    get(name).unwrap_or_default().to_string_lossy().into_owned()
}
