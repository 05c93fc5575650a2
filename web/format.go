package web

import (
	"net/http"
	"slices"

	"corun/collab"
	"corun/runner"
	"corun/store"
)

// maxFormatBody admits a file of the largest size in JSON, in which a character may be six.
const maxFormatBody = 8 << 20

// formatRequest asks for a file of a room to be formatted. The room's document stays as it is:
// who asks puts the answer into it, as an edit of their own.
type formatRequest struct {
	// File is the file's path.
	File string `json:"file"`
	// Content is the text to format, where it is another than the room has: an editor is
	// ahead of it.
	Content *string `json:"content"`
}

type formatAnswer struct {
	File     string `json:"file"`
	Language string `json:"language"`
	Content  string `json:"content"`
	Changed  bool   `json:"changed"`
}

func (s *Server) postFormat(w http.ResponseWriter, r *http.Request) error {
	a, err := s.forRoom(r, store.RoleHost, store.RoleGuest)
	if err != nil {
		return err
	}
	switch {
	case a.room.Ended:
		return newProblem(http.StatusConflict, "the host ended this room")
	case a.room.Locked:
		return newProblem(http.StatusConflict, "the host locked this room: nobody edits now")
	}
	var body formatRequest
	if err := readJSON(w, r, maxFormatBody, &body); err != nil {
		return err
	}
	if body.File == "" {
		return badField("file", "file is missing: give the path of one of the room's files")
	}
	files, _, err := s.filesOf(r, a.room.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(files, func(f collab.File) bool { return f.Path == body.File })
	if at < 0 {
		p := newProblem(http.StatusNotFound, "there is no file %.300q in this room: GET /api/v1/rooms/{id}/files lists those there are", body.File)
		p.Field = "file"
		return p
	}
	text := files[at].Content
	if body.Content != nil {
		text = *body.Content
	}
	formatted, language, err := s.cfg.Runner.Format(r.Context(), runner.FormatRequest{
		Room: a.room.ID, IP: s.remoteIP(r), Path: body.File, Content: text,
	})
	if err != nil {
		return err
	}
	return s.sendJSON(w, r, formatAnswer{body.File, language, formatted, formatted != text})
}
