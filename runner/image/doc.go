// Package image makes, keeps and checks the root file systems that boxes run on.
// The commands call it, and the runner and its tests for the image they run on;
// boxes see an image read-only.
//
// # Theory of operation
//
// An image is named by what is in it. Its identity is the digest of a list of its
// contents (contents.go): of every file the path, the permissions, the size and
// the hash, of every link where it leads. It lies in a folder under that digest
// and is never changed there. A name is a reference to a digest; what a recipe
// makes is named by a hash of the recipe, so that a changed recipe is another
// image.
//
//	.lock               held by who changes names or images
//	.tmp-*              what is being made or removed, locked by who does it
//	sha256/<digest>/    an image: rootfs/, contents, the list, and rootfs.erofs, the same
//	                    as rootfs/ as a file system, which boxes get where they can
//	names/<name>.json   a reference
//	<name>/             an image of a former version, which is used where it is
//	host/               what Host makes
//
// An image is made in a folder of its own and put in its place by one rename,
// after all of it is on the disk. Whoever is killed while making one leaves the
// folder and, by the kernel's hand, no lock on it; the next who gets .lock removes
// what nobody has locked. All locks are flock(2) and go with the process.
//
// Whoever uses an image holds a shared lock on its folder (Hold); it is not
// removed until the last of them has ended.
//
// # What is not trusted
//
// An archive that is imported may come from anybody. Nothing of it is used before
// every digest that it carries has been checked, and nothing of it is written but
// through os.Root, in a folder that nobody else may enter. What an image has no
// need of (devices, FIFOs, names that lead out, links that are written through to
// places outside) makes the import fail and is named; what a box would not heed
// (owners, setuid bits, file capabilities) is left out. Limits bound what an
// archive can make the machine do.
package image
