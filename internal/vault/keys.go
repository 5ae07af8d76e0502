package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"lifeboat/internal/backup"
)

// Key is the name of one object in the vault. Keys are made by the functions of this file only: every segment is
// ours (ids, digests, numbers), at most 255 bytes, no key is a folder of another, and no stranger's name is part
// of a key, so that a vault may also live in a file system.
type Key string

// Marker is the key of vault.json: format version and public key.
const Marker Key = "vault.json"

// storeKey keeps what the store was found to be able to do.
const storeKey Key = "store.json"

// Probe is an object that doctor writes and removes again.
func Probe(name string) Key { return Key("probe/" + name) }

// Record is where the record of a backup lies.
func Record(source backup.Source, id backup.ID) Key { return Records(source) + Key(id+".json") }

// Records is the prefix of all records of a source; of every source when it is empty.
func Records(source backup.Source) Key {
	if source == "" {
		return "catalog/backups/"
	}
	return Key("catalog/backups/" + source + "/")
}

// Lease is held by the one run that works on a source.
func Lease(source backup.Source) Key { return Key("catalog/leases/" + source + ".json") }

// Condemned lists what a sweep of a source found to be needed no longer, and since when; the prefix of all such lists
// where the source is empty.
func Condemned(source backup.Source) Key {
	if source == "" {
		return "catalog/condemned/"
	}
	return Key("catalog/condemned/" + source + ".json")
}

// Locks lists until when what lies in the pool of a source is locked.
func Locks(source backup.Source) Key { return Key("catalog/locks/" + source + ".json") }

// Snapshots is the prefix of what all runs of a source wrote before their archives were sealed.
func Snapshots(source backup.Source) Key { return Key("snapshots/" + source + "/") }

// Snapshot is the prefix of everything that a run writes before its archive is sealed.
func Snapshot(source backup.Source, id backup.ID) Key { return Snapshots(source) + Key(id+"/") }

// Manifest is the signed list of entries of a backup, compressed.
func Manifest(source backup.Source, id backup.ID) Key {
	return Snapshot(source, id) + "manifest.jsonl.gz"
}

// Seal is the signature of a backup's manifest: lifeboat/backup.json of its archive.
func Seal(source backup.Source, id backup.ID) Key { return Snapshot(source, id) + "backup.json" }

// MAC is the message authentication code of a backup's manifest.
func MAC(source backup.Source, id backup.ID) Key { return Snapshot(source, id) + "mac.json" }

// Findings is the complete list of notes and problems of a backup.
func Findings(source backup.Source, id backup.ID) Key { return Snapshot(source, id) + "findings.jsonl" }

// VolumeManifest is the list of entries of one volume, compressed.
func VolumeManifest(source backup.Source, id backup.ID, number int) Key {
	return VolumeLists(source, id) + Key(fmt.Sprintf("%03d.jsonl.gz", number))
}

// VolumeSeal is the signature of the list of one volume.
func VolumeSeal(source backup.Source, id backup.ID, number int) Key {
	return VolumeLists(source, id) + Key(fmt.Sprintf("%03d.json", number))
}

// VolumeLists is the prefix of the lists of all volumes, and of their signatures.
func VolumeLists(source backup.Source, id backup.ID) Key { return Snapshot(source, id) + "v" }

// Work is a file that a run needs until it is sealed, such as work/<attempt>/objects.jsonl.
func Work(source backup.Source, id backup.ID, name string) Key {
	return Snapshot(source, id) + Key("work/"+name)
}

// Packs is the prefix of a source's pool.
func Packs(source backup.Source) Key { return Key("packs/" + source + "/") }

// Pack is one piece of a ZIP in the pool of a source. The first two characters of the id spread the keys.
func Pack(source backup.Source, id string) Key { return Packs(source) + Key(id[:2]+"/"+id) }

// PackID returns the id of the pack that lies at key.
func PackID(key Key) string { return string(key[strings.LastIndexByte(string(key), '/')+1:]) }

// Merge is the index of a merged pack: which packs it holds, and where.
func Merge(source backup.Source, id string) Key { return Packs(source) + Key("merged/"+id+".json") }

// IsMerge reports whether a key of a pool is the index of a merged pack.
func IsMerge(key Key) bool { return strings.HasSuffix(string(key), ".json") }

// AllArchives is the prefix of the archives of a source.
func AllArchives(source backup.Source) Key { return Key("archives/" + source + "/") }

// ArchiveFiles is the prefix of the files of a backup's archive: one, or its volumes.
func ArchiveFiles(source backup.Source, id backup.ID) Key { return AllArchives(source) + Key(id+".") }

// Archive is the ZIP of a backup.
func Archive(source backup.Source, id backup.ID) Key { return ArchiveFiles(source, id) + "zip" }

// ArchiveVolume is one volume of the ZIP of a backup, numbered from 1.
func ArchiveVolume(source backup.Source, id backup.ID, number int) Key {
	return ArchiveFiles(source, id) + Key(fmt.Sprintf("v%03d.zip", number))
}

// Link is the state of a link by its id.
func Link(id string) Key { return Key("links/" + id + ".json") }

// Messages is the prefix of the claims of a run's messages.
func Messages(run backup.ID) Key { return Key("outbox/" + run + "/") }

// Outbox is the claim of one message of a run. The recipient's address is a stranger's text and hashed.
func Outbox(run backup.ID, message, recipient string) Key {
	return Messages(run) + Key(message+"-"+hashed(recipient, 8)+".json")
}

// Restores is the prefix of the records of all restores.
const Restores Key = "catalog/restores/"

// Restore is where the record of a restore lies.
func Restore(id backup.RestoreID) Key { return Restores + Key(id+".json") }

// Name is the reservation of a name in a target. Both are strangers' texts and hashed.
func Name(target, name string) Key {
	return Key("catalog/names/" + hashed(target, 16) + "/" + hashed(name, 16) + ".json")
}

// AllIncoming is the prefix of what was fetched for any restore.
const AllIncoming Key = "incoming/"

// Incoming is an archive that was fetched or uploaded for a restore.
func Incoming(id backup.RestoreID) Key { return AllIncoming + Key(id+".zip") }

// Drill is the prefix of what a drill in the functions of AWS restores, and throws away.
func Drill(id backup.RestoreID) Key { return Key("drills/" + id + "/") }

// RestoreFolder is the prefix of all files that a restore needs.
func RestoreFolder(id backup.RestoreID) Key { return Key("restores/" + id + "/") }

// RestoreWork is a file that a restore needs, such as plan/units.jsonl or notes/import.json.
func RestoreWork(id backup.RestoreID, name string) Key { return RestoreFolder(id) + Key(name) }

// hashed returns the first bytes of a text's SHA-256, in hex.
func hashed(text string, bytes int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:bytes])
}
