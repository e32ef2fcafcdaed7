// Writes the directory named first as a tar archive, in the format named second, to its standard output.
package main

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

var formats = map[string]tar.Format{"pax": tar.FormatPAX, "gnu": tar.FormatGNU, "ustar": tar.FormatUSTAR, "any": 0}

func main() {
	root, archive := os.Args[1], tar.NewWriter(os.Stdout)
	must(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		must(err)
		if path == root {
			return nil
		}
		add(archive, root, path, entry)
		return nil
	}))
	must(archive.Close())
}

func add(archive *tar.Writer, root, path string, entry fs.DirEntry) {
	info, err := entry.Info()
	must(err)
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err = os.Readlink(path)
		must(err)
	}
	header, err := tar.FileInfoHeader(info, target)
	must(err)
	header.Name, err = filepath.Rel(root, path)
	must(err)
	header.Format = formats[os.Args[2]]
	if header.Format == tar.FormatUSTAR { // it keeps one time, in whole seconds
		header.ModTime = header.ModTime.Truncate(time.Second)
		header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	}
	must(archive.WriteHeader(header))
	if info.Mode().IsRegular() {
		file, err := os.Open(path)
		must(err)
		defer file.Close()
		_, err = io.Copy(archive, file)
		must(err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
