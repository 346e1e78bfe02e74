package hashing

// Version is who took part in an event, hashed under one key.
type Version struct {
	Subjects Subjects
	Link     LinkTag
}
