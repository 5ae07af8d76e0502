package zipcheck

// The types and bits of a Unix mode.
const (
	typeMask   = 0o170000
	setIDBits  = 0o6000
	dosVolume  = 0x08
	dosFolder  = 0x10
	dosReparse = 0x400
)

// unixType returns the type that a Unix mode gives.
func unixType(mode uint32) fileType {
	switch mode & typeMask {
	case 0:
		return unknownType
	case 0o100000:
		return regularType
	case 0o040000:
		return directoryType
	case 0o120000:
		return symlinkType
	}
	return specialType
}

// judgeModes judges what the attributes make of entries. A type counts whatever system the archive says it is from:
// programs differ in whether they ask.
func (c *checker) judgeModes() {
	for i := range c.report.Entries {
		e := &c.report.Entries[i]
		mode := e.attributes >> 16
		kind := unixType(mode)
		unix := e.madeBy == unixHost || e.madeBy == darwinHost
		if kind == symlinkType || e.hidden == symlinkType || !unix && e.attributes&dosReparse != 0 {
			c.report.reject(Symlink, i, "it is a symbolic link")
		}
		switch {
		case e.piped():
			c.report.add(Sanitize, Pipe, i, "its mode is that of the pipe that its content was read from: it is taken for a file")
		case kind == specialType, e.hidden == specialType, !unix && e.attributes&dosVolume != 0:
			c.report.reject(SpecialFile, i, "it is neither a file nor a folder")
		}
		folder := kind == directoryType || e.hidden == directoryType || kind == unknownType && e.attributes&dosFolder != 0 || !unix && e.attributes&dosFolder != 0
		if folder && !e.Dir() {
			c.report.reject(FileDir, i, "its attributes are a folder's, its name is a file's")
		}
		if e.Dir() && e.Size > 0 {
			c.report.reject(DirWithData, i, "it is a folder and has %d bytes of data", e.Size)
		}
		if mode&setIDBits != 0 && (unix || kind != unknownType) {
			c.report.add(Sanitize, SetID, i, "its set-id bits are dropped")
		}
	}
}

// anonymousPipe is the mode of the pipes that a shell makes on Linux.
const anonymousPipe = 0o010600

// piped reports whether the entry is what Info-ZIP's zip makes of its standard input: it calls it "-" and notes the mode
// of the pipe that it reads, though it holds the content. Every other pipe, and this one if anything else in its headers
// gives it a type, is one that somebody may want to have made where it is unpacked.
func (e *Entry) piped() bool {
	return e.Name == "-" && e.madeBy == unixHost && e.attributes == anonymousPipe<<16 && e.hidden == unknownType
}
