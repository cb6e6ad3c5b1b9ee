-- Every community that has a book here.
SELECT community FROM book.communities ORDER BY community
