module odd

go 1.19
