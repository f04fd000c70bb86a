//! What becomes of honest and of hostile layers.

use std::collections::BTreeMap;

use super::super::Item;
use super::*;
use crate::tar::{BLOCK, padding, plain_member};

/// A member to be: flag, path, link, content.
type Member<'a> = (u8, &'a str, &'a str, &'a str);

const FILE: u8 = b'0';
const HARD: u8 = b'1';
const LINK: u8 = b'2';
const DIR: u8 = b'5';

/// An archive by the tar crate, which would itself refuse many of these names, so they are put in raw.
fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (flag, path, link, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(*flag));
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(if *flag == DIR { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// What is there after the layers: contents of files, `-> target` of links, `/` of directories.
fn applied(layers: &[&[Member<'_>]]) -> Result<BTreeMap<String, String>, ApplyError> {
    let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
    let mut into = Layers::new(&mut spool, Limits::default());
    for layer in layers {
        into.apply(&archive(layer)[..], Flavour::Layer)?;
    }
    let (tree, _) = into.finish();
    Ok(shown(&tree, &spool))
}

fn shown(tree: &Tree, spool: &Spool) -> BTreeMap<String, String> {
    let show = |item| match item {
        Item::Directory(_) => "/".to_owned(),
        Item::File(_, blob) => String::from_utf8(spool.read(&blob, 1 << 20).unwrap().unwrap()).unwrap(),
        Item::Hardlink(to) => format!("= {to}"),
        Item::Symlink(_, to) => format!("-> {to}"),
    };
    tree.items().unwrap().into_iter().map(|(path, item)| (path.to_string(), show(item))).collect()
}

fn is(result: Result<BTreeMap<String, String>, ApplyError>, wanted: &[(&str, &str)]) {
    let wanted = wanted.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
    assert_eq!(result.unwrap(), wanted);
}

fn refused(layers: &[&[Member<'_>]], why: &str) {
    let error = applied(layers).expect_err("it must be refused").to_string();
    assert!(error.contains(why), "`{error}` does not say `{why}`");
}

#[test]
fn a_path_that_climbs_is_refused() {
    refused(&[&[(FILE, "../../escape", "", "x")]], "climbs with `..`");
    refused(&[&[(DIR, "a", "", ""), (FILE, "a/../../escape", "", "x")]], "climbs with `..`");
}

#[test]
fn an_absolute_path_is_taken_from_the_root() {
    is(applied(&[&[(FILE, "/etc/x", "", "x")]]), &[("etc", "/"), ("etc/x", "x")]);
}

#[test]
fn writing_through_a_link_that_leads_out_is_refused() {
    refused(&[&[(LINK, "out", "../../tmp", ""), (FILE, "out/x", "", "x")]], "leads out of the root");
    // An absolute link leads to the container's /tmp, which this image does not have.
    refused(&[&[(LINK, "out", "/tmp", ""), (FILE, "out/x", "", "x")]], "`tmp` does not exist");
    // In another layer, and through a second link.
    refused(
        &[&[(LINK, "a", "b", ""), (LINK, "b", "..", "")], &[(FILE, "a/x", "", "x")]],
        "leads out of the root",
    );
    refused(
        &[&[(LINK, "a", "b", ""), (LINK, "b", "a", ""), (FILE, "a/x", "", "x")]],
        "symbolic links in one path",
    );
}

#[test]
fn a_link_that_leads_out_is_kept_as_it_is() {
    is(applied(&[&[(LINK, "x", "../../etc/passwd", "")]]), &[("x", "-> ../../etc/passwd")]);
}

#[test]
fn a_hard_link_to_the_host_or_to_what_comes_later_is_refused() {
    refused(&[&[(HARD, "x", "/etc/passwd", "")]], "`etc` does not exist");
    refused(&[&[(HARD, "x", "../../etc/passwd", "")]], "climbs with `..`");
    refused(&[&[(HARD, "x", "later", ""), (FILE, "later", "", "x")]], "`later` does not exist");
    refused(&[&[(DIR, "d", "", ""), (HARD, "x", "d", "")]], "a hard link to the directory");
    refused(&[&[(LINK, "out", "../..", ""), (HARD, "x", "out/etc/passwd", "")]], "leads out of the root");
}

#[test]
fn hard_links_share_a_file_until_one_is_replaced() {
    let base: &[Member<'_>] = &[(FILE, "b", "", "one"), (HARD, "a", "b", ""), (HARD, "c", "/b", "")];
    is(applied(&[base]), &[("a", "one"), ("b", "= a"), ("c", "= a")]);
    is(applied(&[base, &[(FILE, "a", "", "two")]]), &[("a", "two"), ("b", "one"), ("c", "= b")]);
    is(applied(&[base, &[(HARD, "b", "b", "")]]), &[("a", "one"), ("b", "= a"), ("c", "= a")]);
    // To a symbolic link: the link itself, as link(2) does.
    is(applied(&[&[(LINK, "l", "x", ""), (HARD, "m", "l", "")]]), &[("l", "-> x"), ("m", "-> x")]);
}

#[test]
fn devices_and_fifos_are_left_out_and_told() {
    let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
    let mut layers = Layers::new(&mut spool, Limits::default());
    let members: &[Member<'_>] =
        &[(b'3', "dev/null", "", ""), (b'4', "dev/sda", "", ""), (b'6', "run/fifo", "", "")];
    layers.apply(&archive(members)[..], Flavour::Layer).unwrap();
    let (tree, skipped) = layers.finish();
    let told: Vec<_> = skipped.iter().map(|s| (s.path.as_str(), s.what)).collect();
    let wanted = [("dev/null", "character device"), ("dev/sda", "block device"), ("run/fifo", "fifo")];
    assert_eq!(told, wanted);
    assert_eq!(
        shown(&tree, &spool),
        BTreeMap::from([("dev", "/"), ("run", "/")].map(|(a, b)| (a.into(), b.into())))
    );
}

#[test]
fn links_inside_the_root_are_followed() {
    for target in ["/usr/bin", "usr/bin", "./usr/../usr/bin"] {
        let link = format!("-> {target}");
        let base: &[Member<'_>] = &[(DIR, "usr/bin", "", ""), (LINK, "bin", target, "")];
        let wanted = [("bin", link.as_str()), ("usr", "/"), ("usr/bin", "/"), ("usr/bin/app", "x")];
        is(applied(&[base, &[(FILE, "bin/app", "", "x")]]), &wanted);
        let mut one_layer = base.to_vec();
        one_layer.push((FILE, "bin/app", "", "x"));
        is(applied(&[&one_layer]), &wanted);
    }
}

#[test]
fn a_type_that_changes_between_layers_is_replaced() {
    let file: &[Member<'_>] = &[(FILE, "x", "", "x")];
    let directory: &[Member<'_>] = &[(DIR, "x", "", ""), (FILE, "x/y", "", "y")];
    let link: &[Member<'_>] = &[(LINK, "x", "elsewhere", "")];
    is(applied(&[file, directory]), &[("x", "/"), ("x/y", "y")]);
    is(applied(&[directory, file]), &[("x", "x")]);
    is(applied(&[directory, link]), &[("x", "-> elsewhere")]);
    is(applied(&[link, directory]), &[("x", "/"), ("x/y", "y")]);
    is(applied(&[file, link]), &[("x", "-> elsewhere")]);
    is(applied(&[link, file]), &[("x", "x")]);
    is(applied(&[file, &[(b'6', "x", "", "")]]), &[]);
    refused(&[file, &[(FILE, "x/y", "", "y")]], "is no directory");
}

#[test]
fn a_directory_over_a_directory_keeps_what_it_holds() {
    let base: &[Member<'_>] = &[(DIR, "d", "", ""), (FILE, "d/a", "", "a")];
    is(
        applied(&[base, &[(DIR, "d", "", ""), (FILE, "d/b", "", "b")]]),
        &[("d", "/"), ("d/a", "a"), ("d/b", "b")],
    );
}

#[test]
fn whiteouts_remove_from_lower_layers_only() {
    let base: &[Member<'_>] =
        &[(DIR, "d", "", ""), (FILE, "d/a", "", "1"), (FILE, "d/b", "", "1"), (FILE, "d/s/c", "", "1")];
    is(
        applied(&[base, &[(FILE, "d/.wh.a", "", "")]]),
        &[("d", "/"), ("d/b", "1"), ("d/s", "/"), ("d/s/c", "1")],
    );
    is(applied(&[base, &[(FILE, ".wh.d", "", "")]]), &[]);
    // Opaque, with the layer's own members before it and after it.
    let wanted = [("d", "/"), ("d/a", "2"), ("d/s", "/"), ("d/s/n", "2")];
    let (own, hide) = ([(FILE, "d/a", "", "2"), (FILE, "d/s/n", "", "2")], (FILE, "d/.wh..wh..opq", "", ""));
    is(applied(&[base, &[hide, own[0], own[1]]]), &wanted);
    is(applied(&[base, &[own[0], own[1], hide]]), &wanted);
    is(applied(&[base, &[own[0], hide, own[1]]]), &wanted);
    // A directory that is hidden and made anew.
    let anew = [(DIR, "d", "", ""), (FILE, "d/n", "", "2")];
    is(applied(&[base, &[(FILE, ".wh.d", "", ""), anew[0], anew[1]]]), &[("d", "/"), ("d/n", "2")]);
    is(applied(&[base, &[anew[0], anew[1], (FILE, ".wh.d", "", "")]]), &[("d", "/"), ("d/n", "2")]);
}

#[test]
fn whiteouts_of_nothing_do_nothing_and_hostile_ones_are_refused() {
    is(applied(&[&[(FILE, ".wh.x", "", ""), (FILE, "no/.wh.x", "", "")]]), &[]);
    is(applied(&[&[(FILE, ".wh..wh.plnk", "", "")]]), &[]);
    refused(&[&[(FILE, ".wh...", "", "")]], "climbs with `..`");
    refused(&[&[(FILE, ".wh.", "", "")]], "the path is empty");
    refused(&[&[(LINK, "out", "../..", ""), (FILE, "out/.wh.etc", "", "")]], "leads out of the root");
}

#[test]
fn an_exported_file_system_has_no_whiteouts() {
    let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
    let mut layers = Layers::new(&mut spool, Limits::default());
    layers.apply(&archive(&[(FILE, "x", "", "1"), (FILE, ".wh.x", "", "2")])[..], Flavour::Flat).unwrap();
    let (tree, _) = layers.finish();
    assert_eq!(shown(&tree, &spool).len(), 2);
}

#[test]
fn of_a_name_twice_in_a_layer_the_last_counts() {
    is(applied(&[&[(FILE, "x", "", "1"), (FILE, "x", "", "2")]]), &[("x", "2")]);
}

#[test]
fn setuid_owners_and_capabilities_are_kept_and_other_attributes_are_not() {
    let mut builder = tar::Builder::new(Vec::new());
    let attributes =
        [("SCHILY.xattr.security.capability", &b"\x01"[..]), ("SCHILY.xattr.user.note", &b"n"[..])];
    builder.append_pax_extensions(attributes).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o4755);
    header.set_uid(12);
    header.set_gid(34);
    header.set_size(0);
    let long = format!("{}/su", "long".repeat(30));
    builder.append_data(&mut header, &long, &b""[..]).unwrap();
    let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
    let mut layers = Layers::new(&mut spool, Limits::default());
    layers.apply(&builder.into_inner().unwrap()[..], Flavour::Layer).unwrap();
    let items = layers.finish().0.items().unwrap();
    let Item::File(attributes, _) = &items[1].1 else { panic!("{items:?}") };
    assert_eq!(items[1].0.as_str(), long);
    assert_eq!((attributes.mode, attributes.uid, attributes.gid), (0o4755, 12, 34));
    assert_eq!(attributes.xattrs, BTreeMap::from([("security.capability".to_owned(), vec![1])]));
}

/// Gives a large member without holding it.
fn bomb(size: u64) -> impl Read {
    let header = plain_member("bomb", size);
    io::Cursor::new(header).chain(io::repeat(0).take(size + padding(size) as u64 + 2 * BLOCK as u64))
}

#[test]
fn the_limits_hold_over_all_layers_together() {
    let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
    let mut layers = Layers::new(&mut spool, Limits { bytes: 3 << 20, ..Limits::default() });
    layers.apply(bomb(2 << 20), Flavour::Layer).unwrap();
    let error = layers.apply(bomb(2 << 20), Flavour::Layer).unwrap_err().to_string();
    assert!(error.contains("--max-bytes"), "{error}");

    let mut layers = Layers::new(&mut spool, Limits { entries: 3, ..Limits::default() });
    layers.apply(&archive(&[(FILE, "a", "", ""), (FILE, "b", "", "")])[..], Flavour::Layer).unwrap();
    let error = layers.apply(&archive(&[(FILE, "c", "", ""), (FILE, "d", "", "")])[..], Flavour::Layer);
    assert!(error.unwrap_err().to_string().contains("--max-entries"));

    // One member that makes five directories.
    let mut layers = Layers::new(&mut spool, Limits { entries: 5, ..Limits::default() });
    let error = layers.apply(&archive(&[(FILE, "1/2/3/4/5/f", "", "")])[..], Flavour::Layer);
    assert!(error.unwrap_err().to_string().contains("--max-entries"));

    // Zeros without end behind the archive's end.
    let mut layers = Layers::new(&mut spool, Limits { bytes: 1 << 20, ..Limits::default() });
    assert!(layers.apply(io::repeat(0), Flavour::Layer).is_err());
}

#[test]
fn names_that_linux_could_not_hold_are_refused() {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("path", "n".repeat(256).as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    builder.append_data(&mut header, "short", &b""[..]).unwrap();
    let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
    let mut layers = Layers::new(&mut spool, Limits::default());
    let error = layers.apply(&builder.into_inner().unwrap()[..], Flavour::Layer).unwrap_err().to_string();
    assert!(error.contains("256 bytes"), "{error}");
}
