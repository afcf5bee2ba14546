// Package shell is what all web pages have around them: the layout with its navigation, the mark in the browser's tab,
// the pages about errors, the files to download, and the check of what the visitor may do. The templates of all pages
// are here too. The code that gathers the data of a single page is in the packages beside this one.
//
// A page consists of three parts: a file in the folder templates that defines "content", a method that gathers the
// data and calls Render, and a line in the method Routes of its package.
//
//   - In a template the dot is a View. .Data is the page's data, and .Visitor is
//     the visitor.
//   - Every link to another page begins with .Root, such as {{.Root}}events, so that
//     the pages work below any path of a proxy. A link to an asset is written {{.Asset
//     "dashboard.css"}}. A link to what exists once for several databases, such as the
//     sign-in page, begins with .Top.
//   - A part of a page that htmx replaces is a template of its own, in the same file
//     or in parts.html. The method Fragment sends it.
//   - A page has no style attributes and no inline scripts, because the
//     Content-Security-Policy forbids both. Styles are classes of
//     assets/dashboard.css, and scripts are files in assets.
//   - A handler returns its errors. A browser gets a page about the error.
//   - A page changes something only through a form with method POST, behind the
//     guard in Router.
package shell
