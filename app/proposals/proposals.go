// Package proposals reads a project's folder and proposes what one may want to run there.
package proposals

// Proposal is a command that a folder suggests.
type Proposal struct {
	Name    string   // "npm run dev"
	Command []string // the words
	Source  string   // the file that says so: "package.json"
	Detail  string   // what it runs, as the file has it; may be empty
}

// Problem is a file that could not be read.
type Problem struct {
	File  string
	Error string
}

// Folder is what was found in one.
type Folder struct {
	Path      string
	Name      string     // that the project has, else the folder's
	Config    string     // the folder's own configuration of mirrord; empty: none
	Pod       bool       // it is a pod directory: a target, not something to run
	Proposals []Proposal // likely ones first
	Problems  []Problem
}

// Read looks at a folder, or at the folder of a file. The error is that there is no such folder.
func Read(path string) (Folder, error) { return Folder{}, nil }
