package restore

// PartName is what a file is called until it is whole.
var PartName = partName
